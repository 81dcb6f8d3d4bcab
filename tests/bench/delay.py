"""delay.py PORT HOST PORT MS: a proxy for TCP that delays what goes through, each way, by so many milliseconds.

Bytes are kept in their order and nothing but time is added: what comes meanwhile goes its way when its own time has
come, so that any number of messages may be under way. Prints a line when it listens; ends when it is ended."""

import asyncio
import sys

CHUNK_BYTES = 256 << 10


async def pump(reader, writer, delay_s):
    """From one side to the other, each piece at its time."""
    loop, queue = asyncio.get_running_loop(), asyncio.Queue(maxsize=4096)

    async def take():
        while True:
            try:
                data = await reader.read(CHUNK_BYTES)
            except OSError:
                data = b""
            await queue.put((loop.time() + delay_s, data))
            if not data:
                return

    taking = asyncio.create_task(take())
    try:
        while True:
            due_s, data = await queue.get()
            await asyncio.sleep(max(0, due_s - loop.time()))
            if not data:
                break
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        pass
    finally:
        taking.cancel()


async def main():
    port, host, to_port, delay_s = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]) / 1e3

    async def on_client(reader, writer):
        try:
            there_reader, there_writer = await asyncio.open_connection(host, to_port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(pump(reader, there_writer, delay_s), pump(there_reader, writer, delay_s))
        for side in (writer, there_writer):
            side.close()

    server = await asyncio.start_server(on_client, "0.0.0.0", port)
    print("listening", flush=True)
    async with server:
        await server.serve_forever()


asyncio.run(main())
