import type { components } from "./schema.ts";

/** What the service may say, and what only this side knows of. */
export type ErrorCode =
  | components["schemas"]["ErrorCode"]
  | "connection_failed"
  | "unexpected_answer"
  | (string & Record<never, never>);

/** What an error is made of. */
export interface Trouble {
  status?: number | undefined;
  retryAfter?: number | undefined;
  details?: Record<string, unknown> | undefined;
}

const MEMBERS = new Set(["type", "title", "status", "detail", "code", "instance", "message", "retry_after"]);
const OF_TOKENS = new Set(["invalid_token", "session_ended", "token_expired", "token_outdated", "unauthenticated"]);

/** Everything that a call fails with, but for its own abort. `message` is a readable line, `code` is stable. */
export class DocuChatError extends Error {
  readonly code: ErrorCode;
  /** Of the HTTP answer; none of a frame, or where nothing answered. */
  readonly status: number | undefined;
  /** Seconds after which to try again. */
  readonly retryAfter: number | undefined;
  /** The further members of the problem or frame, such as `layer`, `limit` and `resets_at` of a limit. */
  readonly details: Record<string, unknown>;

  constructor(code: ErrorCode, message: string, trouble: Trouble = {}) {
    super(message);
    this.name = "DocuChatError";
    this.code = code;
    this.status = trouble.status;
    this.retryAfter = trouble.retryAfter;
    this.details = trouble.details ?? {};
  }

  /** Whether another access token may open what this one does not. */
  get isOfToken(): boolean {
    return OF_TOKENS.has(this.code);
  }

  /** Whether the way to the service failed or it was away for a moment, so that the same may work again shortly. */
  get isPassing(): boolean {
    const unavailable = this.status === 502 || this.status === 503 || this.status === 504;
    return this.code === "connection_failed" || this.code === "rate_limited" || unavailable;
  }
}

/** The error of an answer that is not a success: of its problem document (RFC 9457), else of its status alone. */
export async function errorOf(response: Response): Promise<DocuChatError> {
  let problem: Record<string, unknown> = {};
  try {
    const body: unknown = await response.json();
    if (typeof body === "object" && body !== null) problem = body as Record<string, unknown>;
  } catch {
    // a proxy's page, or nothing
  }
  const { status } = response;
  const wait = Number.parseFloat(response.headers.get("retry-after") ?? "");
  const code = typeof problem.code === "string" ? problem.code : status === 429 ? "rate_limited" : "unexpected_answer";
  return new DocuChatError(code, textOf(problem.detail ?? problem.title, `The service answered with ${status}.`), {
    status,
    retryAfter: Number.isNaN(wait) ? undefined : Math.max(0, wait),
    details: further(problem),
  });
}

/** The error that a frame `error` tells. */
export function errorOfFrame(frame: components["schemas"]["ErrorFrame"]): DocuChatError {
  return new DocuChatError(frame.code, textOf(frame.message, frame.code), {
    retryAfter: frame.retry_after ?? undefined,
    details: further(frame),
  });
}

function textOf(value: unknown, otherwise: string): string {
  return typeof value === "string" && value !== "" ? value : otherwise;
}

function further(members: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(members).filter(([name]) => !MEMBERS.has(name)));
}
