/** Fields that nothing reads: a misspelt one is silent otherwise. */
import { type Check, type Finding, example } from "./check.ts";
import { unreadField } from "../unread.ts";

export const unreadFields: Check = {
  id: "fields",
  title: "Fields that are not used",
  says: "fields of rows that no record has a place for; misspelt ones",
  run({ unread, format, rowCount }) {
    const findings = [...unread].map(([name, { count, first }]): Finding => {
      const { severity, hint = "It can stay: nothing reads it" } = unreadField(name, format);
      return {
        severity,
        title: `field "${name}" of ${count} of ${rowCount} rows is not used`,
        count,
        of: rowCount,
        why:
          severity === "warning"
            ? "what it says would be missing from the training"
            : "other tools carry such fields",
        remedy: hint.replace(/\.$/, ""),
        examples: [example(first)],
      };
    });
    return { findings, numbers: { rows: rowCount, "fields not used": unread.size } };
  },
};
