/** Where a program of the system is: Debian puts servers where not everybody looks. */
export function programAt(name: string): string | undefined {
  return [...(Deno.env.get("PATH") ?? "").split(":"), "/usr/local/sbin", "/usr/sbin"]
    .map((folder) => `${folder}/${name}`).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    const { isFile, mode } = Deno.statSync(path);
    return isFile && ((mode ?? 0) & 0o111) !== 0;
  } catch { // It is not there, or not for us.
    return false;
  }
}
