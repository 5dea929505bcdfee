"""Lets tuspy or aiotus send a file: CLIENT ENDPOINT TOKEN FILE begin STOP|go-on URL, with metadata as KEY=VALUE. Prints the upload's address."""

import asyncio
import sys

client, endpoint, token, path, what, where, *pairs = sys.argv[1:]
headers = {"Authorization": f"Bearer {token}"}
metadata = dict(pair.split("=", 1) for pair in pairs)


def tuspy():
    from tusclient import client as tus

    maker = tus.TusClient(endpoint, headers=headers)
    if what == "begin":
        uploader = maker.uploader(path, chunk_size=1 << 20, metadata=metadata)
        uploader.upload(stop_at=int(where))
    else:
        uploader = maker.uploader(path, chunk_size=1 << 20, url=where)
        uploader.upload()
    print(uploader.url)


async def aiotus():
    import aiohttp
    import yarl
    from aiotus import core, creation

    with open(path, "rb") as file:
        async with aiohttp.ClientSession() as session:
            if what == "go-on":
                await core.upload_buffer(session, yarl.URL(where), file, headers=headers)
                print(where)
                return
            raw = {key: value.encode() for key, value in metadata.items()}
            location = await creation.create(session, yarl.URL(endpoint), file, raw, headers=headers)
            print(location, flush=True)
            # It cannot be told to stop in the middle: its task is cancelled, as if the program had ended.
            task = asyncio.create_task(core.upload_buffer(session, location, file, chunksize=1 << 20, headers=headers))
            while not task.done() and await core.offset(session, location, headers=headers) < int(where):
                await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


tuspy() if client == "tuspy" else asyncio.run(aiotus())
