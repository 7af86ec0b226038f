/**
 * What chat templates can call, as Python's transformers gives it to them: an exception of their own, and the date. Names of
 * months and days are English whatever the machine speaks, so that a prompt does not depend on it.
 */

/** A template's own words on why it cannot render a conversation. */
export class TemplateRefusal extends Error {}

export function raiseException(message: unknown): never {
  throw new TemplateRefusal(String(message));
}

/** Whole numbers from `start` up to and without `stop`; with one argument from 0. */
export function range(start: number, stop?: number, step = 1): number[] {
  const [from, to] = stop === undefined ? [0, start] : [start, stop];
  if (!Number.isInteger(step) || step === 0) raiseException(`range() with step ${step}`);
  return Array.from({ length: Math.max(0, Math.ceil((to - from) / step)) }, (_, i) => from + i * step);
}

/** Names that every template knows. */
export const constants = { true: true, false: false, none: null, True: true, False: false, None: null };

const months = [
  "January",
  "February",
  "March",
  "April",
  "May",
  "June",
  "July",
  "August",
  "September",
  "October",
  "November",
  "December",
];
const days = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const two = (n: number) => String(n).padStart(2, "0");
const dayOfYear = (d: Date) =>
  Math.round(
    (Date.UTC(d.getFullYear(), d.getMonth(), d.getDate()) - Date.UTC(d.getFullYear(), 0, 1)) / 864e5,
  ) + 1;

/** Directives of Python's strftime, in local time. */
const directives: Readonly<Record<string, (d: Date) => string>> = {
  Y: (d) => String(d.getFullYear()).padStart(4, "0"),
  y: (d) => two(d.getFullYear() % 100),
  m: (d) => two(d.getMonth() + 1),
  d: (d) => two(d.getDate()),
  e: (d) => String(d.getDate()).padStart(2, " "),
  B: (d) => months[d.getMonth()],
  b: (d) => months[d.getMonth()].slice(0, 3),
  h: (d) => months[d.getMonth()].slice(0, 3),
  A: (d) => days[d.getDay()],
  a: (d) => days[d.getDay()].slice(0, 3),
  H: (d) => two(d.getHours()),
  I: (d) => two(d.getHours() % 12 || 12),
  p: (d) => (d.getHours() < 12 ? "AM" : "PM"),
  M: (d) => two(d.getMinutes()),
  S: (d) => two(d.getSeconds()),
  f: (d) => String(d.getMilliseconds() * 1000).padStart(6, "0"),
  j: (d) => String(dayOfYear(d)).padStart(3, "0"),
  w: (d) => String(d.getDay()),
  u: (d) => String(d.getDay() || 7),
  F: (d) => strftime(d, "%Y-%m-%d"),
  T: (d) => strftime(d, "%H:%M:%S"),
  R: (d) => strftime(d, "%H:%M"),
  D: (d) => strftime(d, "%m/%d/%y"),
  c: (d) => strftime(d, "%a %b %e %H:%M:%S %Y"),
  x: (d) => strftime(d, "%m/%d/%y"),
  X: (d) => strftime(d, "%H:%M:%S"),
  "%": () => "%",
};

/** A date as Python's strftime writes it; `%-d` drops leading zeros. Directives that are not known stay as they are. */
export function strftime(date: Date, format: string): string {
  return format.replaceAll(/%(-?)([A-Za-z%])/g, (all, bare: string, letter: string) => {
    if (!Object.hasOwn(directives, letter)) return all;
    const value = directives[letter](date);
    return bare === "" ? value : value.replace(/^[0 ]+(?=.)/, "");
  });
}
