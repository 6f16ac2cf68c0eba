/** The memory of a running process, as Linux counts it. Deno does not let this script read `/proc`, hence `cat`. */

/** Resident memory of a process now, and its peak since the last {@linkcode resetPeak}, in bytes. */
export async function memory(pid: number): Promise<{ resident: number; peak: number }> {
  const status = await run("cat", [`/proc/${pid}/status`]);
  const bytes = (name: string) => {
    const match = status.match(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m"));
    if (!match) throw new Error(`/proc/${pid}/status has no ${name}`);
    return Number(match[1]) * 1024;
  };
  return { resident: bytes("VmRSS"), peak: bytes("VmHWM") };
}

/** Resets the peak of a process to what is resident now. The process must belong to the caller. */
export async function resetPeak(pid: number): Promise<void> {
  await run("tee", [`/proc/${pid}/clear_refs`], "5");
}

/** How many descriptors a process has open. */
export async function openDescriptors(pid: number): Promise<number> {
  return (await run("ls", [`/proc/${pid}/fd`])).split("\n").length - 1;
}

/**
 * Runs a command to its end and returns its stdout.
 *
 * @throws {Error} with its stderr if it fails; `NotFound` if it is not installed.
 */
export async function run(command: string, args: string[], input = ""): Promise<string> {
  await using child = new Deno.Command(command, { args, stdin: "piped", stdout: "piped", stderr: "piped" }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(input));
  await writer.close();
  const { success, stdout, stderr } = await child.output();
  if (!success) throw new Error(`${command} ${args.join(" ")}: ${new TextDecoder().decode(stderr).trim()}`);
  return new TextDecoder().decode(stdout);
}
