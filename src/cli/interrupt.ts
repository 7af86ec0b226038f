/** Ctrl-C for work that can stop in order: the first one asks it to, a second one ends the process. */

/** Raised by work that was asked to stop; exit status 130. */
class Interrupted extends Error {
  constructor(message: string) {
    super(message);
    this.name = "Interrupted";
  }
}

/** Does work with a signal that Ctrl-C (or SIGTERM) sets; `message` is what is said then. */
export async function interruptible<T>(
  message: string,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const abort = new AbortController();
  const onInterrupt = () => {
    if (abort.signal.aborted) process.exit(130);
    abort.abort(new Interrupted(message));
  };
  process.on("SIGINT", onInterrupt).on("SIGTERM", onInterrupt);
  try {
    return await work(abort.signal);
  } finally {
    process.off("SIGINT", onInterrupt).off("SIGTERM", onInterrupt);
  }
}
