/**
 * Windows without Windows: Deno's build for it, under Wine.
 *
 * @module
 */

import { output, ROOT } from "../support/commands.ts";

/** Where the folder is that a test shares with the programs in Wine. */
export const SHARED = String.raw`Z:\shared`;

/** Deno, as a script in Wine runs it. */
export const DENO = "wine /deno.exe";

/** What programs in Wine find in their environment. Wine passes it on to them. */
const ENVIRONMENT = [
  ...["PATH=/usr/bin:/bin", "HOME=/root", "TERM=xterm", "NO_COLOR=1", String.raw`DENO_DIR=Z:\deno`],
  // No reports of Wine's own, and no offer to install .NET and a browser.
  ...["WINEDEBUG=-all", "WINEDLLOVERRIDES=mscoree=;mshtml="],
];

/**
 * Builds the system once, and prints where it is. V8 cannot reserve its memory in the Wine of the Debian before trixie.
 * $1: Deno's version.
 */
const BUILD = `
cache=\${XDG_CACHE_HOME:-$HOME/.cache}/echo-server-tests system=wine-trixie-deno-$1
mkdir -p "$cache"
cd "$cache"
if [ ! -d "$system" ]; then
  new=$(mktemp -d "$cache/new.XXXXXX")
  trap 'rm -r --one-file-system "$new"' EXIT
  mmdebstrap --quiet --variant=essential --include=wine,wine64 trixie "$new/system"
  archive=$(npm pack --silent --pack-destination="$new" "@deno/win32-x64@$1")
  tar -xzf "$new/$archive" -C "$new/system" --strip-components=1 package/deno.exe
  cd "$new/system"
  mkdir echo-server shared deno
  mount -t proc proc proc
  chroot . env -i ${ENVIRONMENT.map(quote).join(" ")} wine /deno.exe --version >&2
  umount proc
  mv "$new/system" "$cache/$system"
fi
echo "$cache/$system"
`;

/** Enters it. $1: the system. $2: the checkout. $3: the npm cache. $4: the folder to share. Then: the command. */
const ENTER = `
system=$1 checkout=$2 npm=$3 shared=$4
shift 4
# What is written to the system is discarded at the end, so that each program finds it as it was built.
mount -t tmpfs none /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay -o "lowerdir=$system,upperdir=/mnt/upper,workdir=/mnt/work" none /mnt/root
cd /mnt/root
mkdir deno/npm
mount -t proc proc proc
mount --rbind /dev dev
mount --bind -o ro "$checkout" echo-server
mount --bind -o ro "$npm" deno/npm
mount --bind "$shared" shared
exec chroot . "$@"
`;

/** A Debian system with Wine and Deno for Windows, in which nothing is left of the programs that have run. */
export class Wine {
  private constructor(private readonly system: string, private readonly npmCache: string) {}

  /**
   * Builds it, or takes the one that an earlier run of the tests has built and kept in the user's cache folder.
   *
   * @throws {Error} If it cannot be built.
   */
  static async build(): Promise<Wine> {
    const { npmCache } = JSON.parse(await output(Deno.execPath(), "info", "--json"));
    // In a mount namespace, so that nothing stays mounted if it fails.
    const build = ["unshare", "--mount", "--pid", "--fork", "sh", "-ec", BUILD, "sh", Deno.version.deno];
    return new Wine((await output(...build)).trim(), npmCache);
  }

  /**
   * Returns the command that runs a script in it, from the checkout. When that is killed, all that the script has
   * started is killed.
   *
   * @param shared A folder that the script finds as {@linkcode SHARED}.
   * @param script For sh, which exits at the first command that fails.
   */
  command(shared: string, script: string): string[] {
    return [
      ...["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", ENTER, "sh"],
      ...[this.system, ROOT, this.npmCache, shared, ...inside(script)],
    ];
  }

  /**
   * Runs a script beside another, in the same Wine.
   *
   * @param pid The process of the other's {@linkcode Wine.command}.
   * @param script For sh, as above.
   * @returns Its stdout.
   */
  async beside(pid: number, script: string): Promise<string> {
    const first = (await output("pgrep", "--parent", `${pid}`)).trim();
    return await output("nsenter", `--target=${first}`, "--mount", "--pid", "--root", ...inside(script));
  }
}

/** Quotes a word for sh. */
export function quote(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

function inside(script: string): string[] {
  return ["env", "-i", ...ENVIRONMENT, "sh", "-ec", `cd /echo-server; ${script}`];
}
