/** Wait; fails with the signal's reason when it is aborted first. A network that comes back ends the wait. */
export function pause(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = (settle: () => void) => () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", aborted);
      if (typeof removeEventListener === "function") removeEventListener("online", over);
      settle();
    };
    const over = done(resolve);
    const aborted = done(() => reject(signal?.reason));
    const timer = setTimeout(over, milliseconds);
    if (signal?.aborted) return aborted();
    signal?.addEventListener("abort", aborted);
    if (typeof addEventListener === "function") addEventListener("online", over);
  });
}

/** The outcome of `promise`, unless the signal is aborted first; the promise itself goes on for who shares it. */
export function unlessAborted<T>(promise: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const aborted = () => reject(signal.reason);
    if (signal.aborted) return aborted();
    signal.addEventListener("abort", aborted, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", aborted));
  });
}

/** Milliseconds before attempt number `failures` + 1, spread so that many clients do not come back at once. */
export function backoff(failures: number): number {
  return Math.min(500 * 2 ** (failures - 1), 8000) * (0.5 + Math.random() / 2);
}

/** A name that nobody guesses; also on pages without TLS, where `crypto.randomUUID` is missing. */
export function randomKey(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
