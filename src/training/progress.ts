/** What goes on while work that takes a while is awaited: the latest word on it now and then, and its result in the end. */

/** How far the work at hand is, in words and in a unit of its own. */
export interface Progress {
  readonly text: string;
  readonly done?: number;
  readonly total?: number;
}

/** Milliseconds between two words. */
const interval = 500;

/** Yields what the work tells while it goes on, not too often, and returns its result. */
export async function* withProgress<T>(
  work: (tell: (progress: Progress) => void) => Promise<T>,
): AsyncGenerator<Progress, T> {
  let latest: Progress | undefined;
  const running = work((progress) => {
    latest = progress;
  });
  const ended = running.then(
    () => true,
    () => true,
  );
  let shown = "";
  for (;;) {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const pause = new Promise<false>((resolve) => (timer = setTimeout(() => resolve(false), interval)));
    const done = await Promise.race([ended, pause]);
    clearTimeout(timer);
    if (latest && latest.text !== shown) {
      shown = latest.text;
      yield latest;
    }
    if (done) return running;
  }
}
