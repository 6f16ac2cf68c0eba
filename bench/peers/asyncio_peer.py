# Run: python3 asyncio_peer.py PORT LOG
import asyncio
import itertools
import resource
import sys


async def main(port: int, path: str) -> None:
    numbers = itertools.count(1)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = next(numbers)
        try:
            message = await reader.read()
            writer.write(message)
            await writer.drain()
            log.write(f"[client {client}]: received {len(message)} bytes\n")
        except OSError as error:
            print(f"client {client}: {error}", file=sys.stderr)
        finally:
            writer.close()

    with open(path, "a", buffering=1) as log:
        server = await asyncio.start_server(serve, "0.0.0.0", port, backlog=4096)
        async with server:
            await server.serve_forever()


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
