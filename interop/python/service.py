"""A Python WebSocket service, registered either by py_eureka_client itself or by the Zowe
Python enabler. It knows nothing of Fairlead.

    service.py eureka|enabler

reads config/service-configuration.yml from the working directory, serves until SIGTERM,
deregisters and ends.
"""

import asyncio
import json
import signal
import ssl
import sys

import py_eureka_client.eureka_client as eureka
import websockets
import yaml


async def answer(socket):
    """Answers a text reversed, `headers` with the request, and `applications` with the registry."""
    async for message in socket:
        if message == "headers":
            request = socket.request
            await socket.send(json.dumps({"path": request.path, "headers": list(request.headers.raw_items())}))
        elif message == "applications":
            await socket.send(json.dumps(applications()))
        elif isinstance(message, bytes):
            await socket.send(message)
        else:
            await socket.send(message[::-1])


def applications():
    """What py_eureka_client has read, from XML, in full and then as deltas."""
    client = eureka.get_client()
    if client is None or client.applications is None:
        return {}
    return {
        app.name: {i.instanceId: {"status": i.status, "metadata": i.metadata} for i in app.instances}
        for app in client.applications.applications
    }


async def register_eureka(config):
    instance = config["instance"]
    registry = config["eureka"]
    await eureka.init_async(
        eureka_server=f"http://{registry['host']}:{registry['port']}{registry['servicePath']}",
        app_name=instance["app"],
        instance_id=instance["instanceId"],
        instance_host=instance["hostName"],
        instance_ip=instance["ipAddr"],
        instance_port=instance["port"],
        renewal_interval_in_secs=1,
        duration_in_secs=30,
        vip_adr=instance["vipAddress"],
        metadata=instance["metadata"],
    )
    return eureka.stop_async


async def register_enabler(_config):
    # The import reads the configuration and replaces py_eureka_client's HTTP client.
    from zowe_apiml_onboarding_enabler_python.registration import PythonEnabler

    enabler = PythonEnabler()
    await asyncio.to_thread(enabler.register)

    async def stop():
        await asyncio.to_thread(enabler.unregister)

    return stop


async def main(how):
    with open("config/service-configuration.yml", encoding="utf-8") as file:
        config = yaml.safe_load(file)
    instance = config["instance"]
    tls, port = None, instance["port"]
    if instance["scheme"] == "https":
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(config["ssl"]["certificate"], config["ssl"]["keystore"])
        port = instance["securePort"]

    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with websockets.serve(answer, "127.0.0.1", port, ssl=tls):
        print(f"listening on {port}", flush=True)
        deregister = await (register_eureka if how == "eureka" else register_enabler)(config)
        await stopped.wait()
    await deregister()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
