"""nginx as origin and as the peer: a bare proxy_pass, nothing that a reader could call unfair."""

import random
import shutil
from pathlib import Path

from edge.demo.processes import Child, family, free_port
from edge.demo.stage import MAY_ENTER

HEAD = """\
daemon off; worker_processes 1; pid {folder}/{name}.pid; error_log {folder}/{name}.error;
events {{ worker_connections 20000; }}
http {{
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  keepalive_requests 100000000; keepalive_timeout 600s; client_max_body_size 0;
"""
BODY = b"x" * 100            # of /small and /named
BIG = 200_000_000            # bytes of /big and /named/big
WHO = MAY_ENTER              # who must be named to /named
ORIGIN = HEAD + """\
  access_log off; sendfile on;
  server {{ listen 127.0.0.1:{port} backlog=4096;
    location = /small {{ return 200 "{body}"; }}
    location = /named {{ {check} return 200 "{body}"; }}
    location = /named/big {{ {check} alias {folder}/files/big; }}
    location = /up {{ proxy_pass http://127.0.0.1:{port}/sink; proxy_request_buffering off; }}
    location / {{ root {folder}/files; }} }}
}}
"""
# a request that doesn't carry the assertion and the name is answered 500: a figure can't pass
CHECK = """\
if ($http_cf_access_jwt_assertion !~ "^[^.]+[.][^.]+[.][^.]+$") {{ return 500 "no assertion"; }}
      if ($http_cf_access_authenticated_user_email != "{who}") {{ return 500 "no name"; }}
"""
PROXY = HEAD + """\
  access_log {folder}/{name}.log combined buffer=64k flush=1s;
  upstream origin {{ server 127.0.0.1:{origin}; keepalive 128; keepalive_requests 100000000; }}
  ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3;
  ssl_session_cache shared:a:10m; ssl_session_tickets on;
  server {{ listen 127.0.0.1:{port} backlog=4096; listen 127.0.0.1:{tls} ssl backlog=4096;
    location / {{ proxy_pass http://origin; proxy_http_version 1.1; proxy_buffering {buffering};
      proxy_request_buffering off;
      proxy_set_header Host $host; proxy_set_header Connection "";
      proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $host; }} }}
}}
"""


class Nginx:
    def __init__(self, name: str, folder: Path, text: str) -> None:
        path = folder / f"{name}.conf"
        path.write_text(text)
        # its compiled-in error log needs root; -e names ours before the file is read
        argv = [shutil.which("nginx") or "/usr/sbin/nginx", "-e", str(folder / f"{name}.error"),
                "-c", str(path), "-p", str(folder)]
        self.child = Child(name, argv, folder / f"{name}.out").start()

    def workers(self) -> list[int]:
        """Return the pids that serve: the worker, not the master."""
        return [p for p in family(self.child.pid) if p != self.child.pid]

    def ready(self) -> bool:
        return len(self.workers()) == 1

    def stop(self) -> None:
        self.child.stop()


def origin(folder: Path) -> tuple[Nginx, int]:
    port = free_port()
    files = folder / "files"
    files.mkdir(exist_ok=True)
    folder.chmod(0o755)
    (files / "big").write_bytes(random.Random(1).randbytes(BIG // 100) * 100)
    one = Nginx("origin", folder, ORIGIN.format(
        folder=folder, name="origin", port=port, body=BODY.decode(), check=CHECK.format(who=WHO)))
    one.child.wait_until(one.ready, "its worker")
    return one, port


def proxy(folder: Path, origin_port: int, certificate: Path, key: Path,
          buffering: str = "on") -> tuple[Nginx, int, int]:
    port, tls = free_port(), free_port()
    one = Nginx("proxy", folder, PROXY.format(
        folder=folder, name="proxy", port=port, tls=tls, origin=origin_port,
        certificate=certificate, key=key, buffering=buffering))
    one.child.wait_until(one.ready, "its worker")
    return one, port, tls
