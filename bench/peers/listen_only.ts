// A Deno script that only listens: what the start of the others is compared with.
// Run: deno run --allow-net listen_only.ts PORT

const listener = Deno.listen({ port: Number(Deno.args[0]) });
// A listener without a pending accept does not keep the process alive.
for (;;) (await listener.accept()).close();
