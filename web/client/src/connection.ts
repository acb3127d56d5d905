import { DocuChatError, errorOf } from "./errors.ts";
import type { paths } from "./schema.ts";

/** A server, and how one shows who one is. Every call takes one. */
export interface Connection {
  /** Its address, without a slash at the end. */
  readonly server: string;
  /** The headers that say who calls. */
  headers(signal?: AbortSignal): Promise<Record<string, string>>;
  /** After these headers were refused: whether there are others by now. */
  renew(refused: Record<string, string>, signal?: AbortSignal): Promise<boolean>;
}

/** Who calls: with an access token (or what gives one, asked again when it is refused), a key, or as nobody. */
export interface Credentials {
  token?: string | ((refused: string | undefined) => string | Promise<string>);
  apiKey?: string;
  /** Id, customer id or slug of the tenant, where somebody is in several. */
  tenant?: string;
}

/** A connection to the server at `address`. Nothing is sent yet. */
export function connect(address: string, credentials: Credentials = {}): Connection {
  const { token, apiKey, tenant } = credentials;
  let current: string | undefined;
  return {
    server: address.replace(/\/+$/, ""),
    async headers() {
      if (token !== undefined) current ??= typeof token === "string" ? token : await token(undefined);
      return {
        ...(current === undefined ? {} : bearer(current)),
        ...(apiKey === undefined ? {} : { "X-API-Key": apiKey }),
        ...(tenant === undefined ? {} : { "X-Tenant-ID": tenant }),
      };
    },
    async renew(refused) {
      if (typeof token !== "function") return false;
      // whoever shares this connection may have renewed it meanwhile
      if (current !== undefined && bearer(current).Authorization === refused.Authorization) {
        current = await token(current);
      }
      return current !== undefined && bearer(current).Authorization !== refused.Authorization;
    },
  };
}

/** The header of an access token. */
export function bearer(token: string): { Authorization: string } {
  return { Authorization: `Bearer ${token}` };
}

type Values = Record<string, unknown>;

/** What a request is made of. */
export interface Request {
  query?: Values | undefined;
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal | undefined;
}

/** Send a request; a token that is refused is renewed once. Fails with a DocuChatError for all but a success. */
export async function send(connection: Connection, method: string, path: string, request: Request = {}) {
  let who = await connection.headers(request.signal);
  for (let renewed = false; ; renewed = true) {
    const response = await attempt(connection.server + path + queryOf(request.query), method, who, request);
    if (response.ok) return response;
    const error = await errorOf(response);
    if (renewed || !error.isOfToken || !(await connection.renew(who, request.signal))) throw error;
    who = await connection.headers(request.signal);
  }
}

async function attempt(
  address: string,
  method: string,
  who: Record<string, string>,
  { body, headers, signal }: Request,
) {
  const json = body === undefined ? {} : { "Content-Type": "application/json" };
  try {
    return await fetch(address, {
      method,
      headers: { ...json, ...headers, ...who },
      body: body === undefined ? null : JSON.stringify(body),
      // who calls is said by a header, never by the browser's cookies
      credentials: "omit",
      // of its own server a page asks without `Origin`; then this says which page a visitor's token is used on
      referrerPolicy: "strict-origin",
      signal: signal ?? null,
    });
  } catch (error) {
    signal?.throwIfAborted();
    throw new DocuChatError("connection_failed", `${new URL(address).origin} cannot be reached.`, {
      details: { cause: String(error) },
    });
  }
}

function queryOf(query: Values = {}): string {
  const pairs = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== undefined && one !== null) pairs.append(name, String(one));
    }
  }
  return pairs.size > 0 ? `?${pairs}` : "";
}

type Method = "get" | "post" | "put" | "patch" | "delete";

/** Every operation by its method and path, as the documentation writes it. */
export type OperationName = {
  [P in keyof paths & string]: {
    [M in Method]: paths[P][M] extends { responses: unknown } ? `${Uppercase<M>} ${P}` : never;
  }[Method];
}[keyof paths & string];

type OperationOf<N extends OperationName> = N extends `${infer M} ${infer P}`
  ? P extends keyof paths
    ? paths[P][Lowercase<M> & keyof paths[P]]
    : never
  : never;

type PathOf<O> = O extends { parameters: { path: infer P extends object } } ? { path: P } : unknown;
type QueryOf<O> = O extends { parameters: { query: infer Q extends object } }
  ? { query: Q }
  : O extends { parameters: { query?: infer Q } }
    ? [Q] extends [undefined]
      ? unknown
      : { query?: Q }
    : unknown;
type BodyOf<O> = O extends { requestBody: { content: { "application/json": infer B } } }
  ? { body: B }
  : O extends { requestBody?: { content: { "application/json": infer B } } }
    ? { body?: B }
    : unknown;
type Options = { signal?: AbortSignal | undefined; idempotencyKey?: string };
type Flat<T> = { [K in keyof T]: T[K] };

// by name, since the product of all paths with all bodies is more than the compiler takes
type Calls = {
  [N in OperationName]: Flat<PathOf<OperationOf<N>> & QueryOf<OperationOf<N>> & BodyOf<OperationOf<N>> & Options>;
};

/** What the operation `N` is called with. */
export type CallOf<N extends OperationName> = Calls[N];

/** What the operation `N` answers. */
export type AnswerOf<N extends OperationName> =
  OperationOf<N> extends { responses: infer R }
    ? { [S in keyof R]: R[S] extends { content: { "application/json": infer A } } ? A : never }[keyof R]
    : never;

/** Operations that need neither path nor body. */
type Bare = { [N in OperationName]: Record<never, never> extends Calls[N] ? N : never }[OperationName];

/**
 * Call an operation: `await call(connection, "GET /v1/chatbots/{chatbot_id}", { path: { chatbot_id } })`.
 *
 * With an `idempotencyKey` what is sent twice takes effect once. An operation without an answer gives undefined.
 */
export async function call<N extends OperationName>(
  connection: Connection,
  name: N,
  given: CallOf<N>,
): Promise<AnswerOf<N>>;
export async function call<N extends Bare>(connection: Connection, name: N): Promise<AnswerOf<N>>;
export async function call(
  connection: Connection,
  name: string,
  { path, query, body, signal, idempotencyKey }: Request & { path?: Values; idempotencyKey?: string } = {},
): Promise<unknown> {
  const [method = "", template = ""] = name.split(" ");
  const filled = template.replace(/\{(\w+)\}/g, (_, part: string) => encodeURIComponent(String(path?.[part])));
  const headers = idempotencyKey === undefined ? {} : { "Idempotency-Key": idempotencyKey };
  const response = await send(connection, method, filled, { query, body, signal, headers });
  const text = await response.text();
  return text === "" ? undefined : JSON.parse(text);
}
