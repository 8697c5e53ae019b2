"""A real mail server for tests: Debian's aiosmtpd. It keeps messages in a folder and knows one user.

Arguments: plain, starttls or tls; the port; the folder; the certificate and its key.
"""

import asyncio
import os
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

mode, port, folder, certificate, key = sys.argv[1:]


class Keep:
    count = 0

    async def handle_DATA(self, server, session, envelope):
        Keep.count += 1
        is_encrypted = mode == "tls" or session.ssl is not None
        to = " ".join(envelope.rcpt_tos)
        head = f"TLS {is_encrypted} USER {session.auth_data}\nFROM {envelope.mail_from}\nTO {to}\n\n"
        path = os.path.join(folder, f"{Keep.count}.eml")
        with open(path + ".new", "wb") as file:
            file.write(head.encode() + envelope.content)
        os.rename(path + ".new", path)
        return "250 kept"


def check(server, session, envelope, mechanism, data):
    is_right = data.login == b"webmon" and data.password == b"hunter2"
    return AuthResult(success=is_right, handled=False, auth_data="webmon")


context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(certificate, key)


def protocol():
    login = {"authenticator": check, "auth_required": True}
    if mode == "starttls":
        return SMTP(Keep(), tls_context=context, require_starttls=True, **login)
    if mode == "tls":
        return SMTP(Keep(), auth_require_tls=False, **login)
    return SMTP(Keep())


async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(protocol, "127.0.0.1", int(port), ssl=context if mode == "tls" else None)
    await server.serve_forever()


asyncio.run(main())
