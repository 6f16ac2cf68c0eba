/**
 * The container image, built by buildah and run by runc, both of which need no daemon and no registry.
 *
 * @module
 */

import { output, ROOT } from "../support/commands.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";
import type { Arm64System } from "./arm64.ts";

const CONTAINERFILE = `${ROOT}deploy/container/Containerfile`;

/** $1: the folder. $2: Deno. Makes what the server uses of Deno's official image, and the folder of the volume. */
const BASE = `
mkdir -p "$1/base/bin" "$1/base/dev" "$1/base/proc" "$1/base/var/log" "$1/volume"
cp "$2" "$1/base/bin/deno"
for library in $(ldd "$2" | grep -o '/[^ ]*'); do
  mkdir -p "$1/base$(dirname "$library")"
  cp -L "$library" "$1/base$library"
done
chown 1000:1000 "$1/volume"
`;

/** $1: the folder. $2: a system with Deno in it. Makes the same, but of that system. */
const BASE_FROM = `
rm -r "$1/base"
cp -r "$2" "$1/base"
mkdir -p "$1/base/dev" "$1/base/proc" "$1/base/var/log"
`;

/** $1: the folder. $2: Deno's cache of npm packages. The rest: the packages that go into the image's cache. */
const CACHE = `
to="$1/cache/npm/registry.npmjs.org"
from="$2/registry.npmjs.org"
shift 2
for package; do
  mkdir -p "$to/$package"
  cp -r "$from/$package/." "$to/$package"
done
`;

/** The part of the image's configuration that the tests look at. */
export interface Config {
  /** The user and group. */
  User: string;
  /** The ports that it listens on. */
  ExposedPorts: Record<string, unknown>;
  /** The environment, each as `NAME=value`. */
  Env: string[];
  /** The command. */
  Entrypoint: string[];
  /** The folders that are written to. */
  Volumes: Record<string, unknown>;
}

/** The image, unpacked. */
export class Image implements AsyncDisposable {
  /** The folder of the host that is mounted as its volume. */
  readonly volume: string;

  private constructor(
    private readonly resources: AsyncDisposableStack,
    private readonly folder: string,
    /** The processor that it is for, in Go's words. */
    readonly architecture: string,
    /** Its configuration. */
    readonly config: Config,
    /** Where its file system is. */
    readonly root: string,
    /** Bytes by which it is larger than Deno's official image. */
    readonly added: number,
  ) {
    this.volume = `${folder}/volume`;
  }

  /**
   * Builds it as the Containerfile says, without a network. Instead of Deno's official image there is one of the same
   * name, made from the Deno that runs the tests and the C library; the packages come from the cache of that Deno.
   *
   * @param packages The npm packages that the build finds in the cache.
   * @param arm64 A system for arm64 with Deno, if the image is to be for that.
   * @returns The image. Disposing of it removes everything that was built.
   * @throws {Error} If it cannot be built, for example because it needs another package.
   */
  static async build(packages: string[], arm64?: Arm64System): Promise<Image> {
    await using resources = new AsyncDisposableStack();
    const { path: folder } = resources.use(new TemporaryFolder("echo-image-"));
    const buildah = (...args: string[]) =>
      output(
        ...["unshare", "--net", "buildah", "--storage-driver=vfs", `--root=${folder}/store`],
        ...[`--runroot=${folder}/run`, ...args],
      );
    // buildah 1.28 ignores a platform of a stage. What the first stage is based on is for arm64 by name only: its Deno is
    // the one that runs the tests.
    const platform = arm64 === undefined ? [] : ["--platform=linux/arm64"];
    const build = (file: string, tag: string, context: string, ...args: string[]) =>
      buildah(
        ...["build", "--quiet", "--isolation=chroot", `--file=${file}`, `--tag=${tag}`, ...platform],
        ...[...args, context],
      );

    const [, official = ""] = /^FROM (\S+)$/m.exec(await Deno.readTextFile(CONTAINERFILE)) ?? [];
    const { npmCache } = JSON.parse(await output(Deno.execPath(), "info", "--json"));
    await output("sh", "-ec", BASE, "sh", folder, Deno.execPath());
    await output("sh", "-ec", CACHE, "sh", folder, npmCache, ...packages);
    await Deno.writeTextFile(`${folder}/Base`, "FROM scratch\nCOPY base /\nENV PATH=/usr/bin:/bin\n");
    await Deno.writeTextFile(`${folder}/Cached`, `FROM ${official}\nCOPY cache /usr/lib/echo-server/cache\n`);
    await build(`${folder}/Base`, official, folder);
    await build(`${folder}/Cached`, "cached", folder);
    if (arm64 !== undefined) {
      await output("sh", "-ec", BASE_FROM, "sh", folder, arm64.root);
      await build(`${folder}/Base`, official, folder);
    }
    // --from replaces the base of the first stage; the second stage is based on the image without the packages.
    await build(CONTAINERFILE, "echo-server", ROOT, "--layers=false", "--from=localhost/cached");

    const inspect = async (image: string) => JSON.parse(await buildah("inspect", "--type=image", image));
    const { OCIv1: { architecture, config } } = await inspect("echo-server");
    const container = (await buildah("from", "echo-server")).trim();
    const root = (await buildah("mount", container)).trim();
    const added = await bytes(root) - await bytes(`${folder}/base`);
    return new Image(resources.move(), folder, architecture, config, root, added);
  }

  /** Every file and folder in it, each a line with its path, size, times, owner and mode. */
  async files(): Promise<string[]> {
    return (await output("find", this.root, "-printf", "%P %s %T@ %C@ %U:%G %m\n")).split("\n");
  }

  /**
   * Prepares a container: process and mount namespaces of its own, no capability, a root file system that is read-only
   * but for the volume.
   *
   * @param entrypoint The command. Default: the image's.
   * @param emulator The program that runs the image's Deno, if the machine cannot.
   * @returns The container. It has the network of the test.
   */
  async container(entrypoint: string[] = this.config.Entrypoint, emulator?: string): Promise<Container> {
    const bundle = await Deno.makeTempDir({ dir: this.folder, prefix: "bundle-" });
    const [uid, gid] = this.config.User.split(":").map(Number);
    const [deno = "", ...args] = entrypoint;
    const command = emulator === undefined ? [deno] : ["/dev/emulator", `/bin/${deno}`];
    const none = { bounding: [], effective: [], inheritable: [], permitted: [], ambient: [] };
    const spec = {
      ociVersion: "1.0.2",
      process: {
        user: { uid, gid },
        // The port is any that is free.
        args: [...command, ...args.map((arg) => arg.replace("0.0.0.0:4000", "127.0.0.1:0"))]
          .concat("--hostname=127.0.0.1", "--port=0"),
        env: this.config.Env,
        cwd: "/",
        capabilities: none,
        noNewPrivileges: true,
      },
      root: { path: this.root, readonly: true },
      mounts: [
        { destination: "/proc", type: "proc", source: "proc" },
        { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=755", "size=64k"] },
        ...emulator === undefined
          ? []
          : [{ destination: "/dev/emulator", type: "bind", source: emulator, options: ["bind", "ro"] }],
        ...Object.keys(this.config.Volumes).map((destination) => (
          { destination, type: "bind", source: this.volume, options: ["bind", "rw"] }
        )),
      ],
      linux: { namespaces: [{ type: "pid" }, { type: "mount" }] },
    };
    await Deno.writeTextFile(`${bundle}/config.json`, JSON.stringify(spec));
    return new Container(bundle);
  }

  /** Removes everything that was built. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.resources.disposeAsync();
  }
}

/** A container, before, while and after it runs. */
export class Container implements AsyncDisposable {
  /** The command that runs it, for a `Program`: it forwards signals and exits with the server's status. */
  readonly command: string[];

  readonly #runc: string[];

  /** @param bundle The folder with its `config.json`. */
  constructor(bundle: string) {
    this.#runc = ["runc", `--root=${bundle}/state`];
    this.command = [...this.#runc, "run", `--bundle=${bundle}`, "echo-server"];
  }

  /** The kernel's status of its first process. */
  async status(): Promise<string> {
    const [runc = "", ...args] = this.#runc;
    const { pid } = JSON.parse(await output(runc, ...args, "state", "echo-server"));
    // Deno itself reads nothing in /proc unless it is granted everything.
    return await output("cat", `/proc/${pid}/status`);
  }

  /** Kills it, if it runs. */
  async [Symbol.asyncDispose](): Promise<void> {
    const [runc = "", ...args] = this.#runc;
    await output(runc, ...args, "delete", "--force", "echo-server");
  }
}

async function bytes(folder: string): Promise<number> {
  return parseInt(await output("du", "--summarize", "--bytes", folder));
}
