/** SHA-256 digests of texts, bytes and files, in hexadecimal. */
import { createHash } from "node:crypto";
import { fileChunks } from "./files.ts";

export function sha256(data: string | Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
}

export async function sha256OfFile(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of fileChunks(path)) hash.update(chunk);
  return hash.digest("hex");
}
