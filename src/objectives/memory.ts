/** Things made once, by name. */

/** A function that makes each named thing once. */
export function memory() {
  const made = new Map<string, unknown>();
  return <T>(name: string, make: () => T): T => {
    if (!made.has(name)) made.set(name, make());
    return made.get(name) as T; // made under this name, so of its type
  };
}
