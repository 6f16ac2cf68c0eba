// The least that a Deno script can do and still listen: what the start to listening is compared with.
// Run: deno run --allow-net listen_only.ts PORT

const listener = Deno.listen({ port: Number(Deno.args[0]) });
// A listener that nobody waits on does not keep the process alive.
for (;;) (await listener.accept()).close();
