/**
 * A system booted in QEMU without hardware acceleration: it has its own kernel, and enforces memory limits. It is slow.
 *
 * @module
 */

import { output } from "../../support/commands.ts";
import { inside, type Machine } from "./container.ts";
import { makeDebian } from "./debian.ts";

/** Milliseconds that a boot may take. */
const BOOT_TIMEOUT_MS = 240_000;

/** Packages that a system needs to boot by itself. */
const PACKAGES = ["linux-image-cloud-amd64", "initramfs-tools"];

/** Puts only what the disk needs into the initial file system: more would have to be unpacked at each boot. */
const HOOK = `--essential-hook=mkdir -p "$1/etc/initramfs-tools/conf.d"
echo MODULES=list >"$1/etc/initramfs-tools/conf.d/modules"
printf '%s\n' virtio_pci virtio_blk ext4 >"$1/etc/initramfs-tools/modules"`;

/** Runs each script that arrives on port 22, and ends its output with its exit status. */
const SHELL = `[Unit]
Description=Runs the tests' scripts
StartLimitIntervalSec=0
[Service]
ExecStartPre=ip address replace 10.0.2.15/24 dev eth0
ExecStartPre=ip link set eth0 up
ExecStart=socat -t 3600 TCP-LISTEN:22,reuseaddr,fork SYSTEM:"sh /usr/lib/run-script"
Restart=always
RestartSec=1
LimitNOFILE=100000
[Install]
WantedBy=multi-user.target
`;

const RUN_SCRIPT = 'sh -e -c "$(cat)" </dev/null 2>&1; echo "exit $?"\n';

/** $1: the folder with the system. $2: the folder for the disk, the kernel and the initial file system. */
const MAKE_DISK = `
chroot "$1" systemctl -q enable shell
echo '/dev/vda / ext4 defaults 0 1' >"$1/etc/fstab"
cp "$1"/boot/vmlinuz-* "$2/kernel"
cp "$1"/boot/initrd.img-* "$2/initrd"
mke2fs -q -t ext4 -d "$1" "$2/disk" 4G
rm -r "$1"`;

/** A machine in QEMU. */
export class VirtualMachine implements Machine {
  #qemu: Deno.ChildProcess | undefined;

  private constructor(private readonly folder: string, private readonly port: number) {}

  /**
   * Makes the system.
   *
   * @param folder Where its disk goes.
   * @returns The machine, turned off.
   */
  static async make(folder: string): Promise<VirtualMachine> {
    const system = `${folder}/system`;
    await makeDebian(system, PACKAGES, [HOOK]);
    await Deno.writeTextFile(`${system}/etc/systemd/system/shell.service`, SHELL);
    await Deno.writeTextFile(`${system}/usr/lib/run-script`, RUN_SCRIPT);
    await output("sh", "-ec", MAKE_DISK, "sh", system, folder);
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 }); // finds a free port
    return new VirtualMachine(folder, listener.addr.port);
  }

  /** Turns it on, and waits until it has booted. */
  async turnOn(): Promise<void> {
    const disk = `file=${this.folder}/disk,if=virtio,format=raw,cache=unsafe`;
    this.#qemu = new Deno.Command("qemu-system-x86_64", {
      args: [
        ...["-cpu", "max,la57=off", "-accel", "tcg,thread=multi", "-smp", "2", "-m", "4096", "-display", "none"],
        ...["-kernel", `${this.folder}/kernel`, "-initrd", `${this.folder}/initrd`],
        ...["-append", "console=ttyS0 root=/dev/vda rw quiet mitigations=off net.ifnames=0"],
        ...["-drive", disk, "-serial", `file:${this.folder}/console`, "-device", "virtio-net-pci,netdev=net"],
        ...["-netdev", `user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:${this.port}-:22`],
      ],
      stdin: "null",
      stdout: "null",
    }).spawn();
    await this.booted();
  }

  /** Waits until it has booted. */
  async booted(): Promise<void> {
    const start = performance.now();
    for (;;) {
      try {
        await this.run("systemctl is-system-running --wait | grep -qE 'running|degraded'");
        return;
      } catch (error) {
        if (performance.now() - start > BOOT_TIMEOUT_MS) throw error;
        await new Promise((resolve) => setTimeout(resolve, 500));
      }
    }
  }

  /** Cuts its power. */
  async cutPower(): Promise<void> {
    this.#qemu?.kill("SIGKILL");
    await this.#qemu?.status;
    this.#qemu = undefined;
  }

  /** Runs a script. */
  async run(script: string): Promise<string> {
    using conn = await Deno.connect({ hostname: "127.0.0.1", port: this.port });
    const writer = conn.writable.getWriter();
    await writer.write(new TextEncoder().encode(inside(script)));
    await conn.closeWrite();
    const printed = await new Response(conn.readable).text();
    const [, text, status] = /^([^]*)exit (\d+)\n$/.exec(printed) ?? [];
    if (text === undefined || status !== "0") throw new Error(`failed in the machine: ${script}\n${printed}`);
    return text;
  }

  /** Turns it off. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.cutPower();
  }
}
