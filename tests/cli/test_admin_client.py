"""The command line's HTTP over admin.sock: whole answers, and a sentence for everything else."""

import socket
import threading

import pytest

from edge.cli.admin_client import AdminClient, AdminError


@pytest.fixture
def answering(tmp_path):
    """A server that reads one request and answers what it is told; returns what it read."""
    threads = []

    def start(answer: bytes) -> tuple[AdminClient, list[bytes]]:
        seen: list[bytes] = []
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(tmp_path / "admin.sock"))
        listening.listen()

        def serve() -> None:
            with listening, listening.accept()[0] as sock:
                seen.append(sock.recv(65536))
                for byte in answer:
                    sock.send(bytes([byte]))

        thread = threading.Thread(target=serve)
        thread.start()
        threads.append(thread)
        return AdminClient(run_folder=tmp_path), seen

    yield start
    for thread in threads:
        thread.join()


def test_answer_in_any_pieces(answering):
    client, seen = answering(b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"a": 12}')
    assert client.call("POST", "/reload", {"x": "ä"}) == {"a": 12}
    head, _, body = seen[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /reload HTTP/1.1\r\n")
    assert b"Connection: close" in head and f"Content-Length: {len(body)}".encode() in head


def test_refusal_keeps_status_sentence_and_answer(answering):
    client, _ = answering(
        b'HTTP/1.1 422 Unprocessable\r\ncontent-length: 27\r\n\r\n{"error": "no", "errors":1}'
    )
    with pytest.raises(AdminError) as refused:
        client.call("POST", "/reload")
    assert (refused.value.sentence, refused.value.status) == ("no", 422)
    assert refused.value.answer == {"error": "no", "errors": 1}


@pytest.mark.parametrize("answer", [
    b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\n\r\n{}", b"SSH-2.0-x\r\n\r\n",
])  # fmt: skip
def test_half_an_answer_is_no_answer(answering, answer):
    client, _ = answering(answer)
    with pytest.raises(AdminError, match="no edge answers at"):
        client.call("GET", "/status")


def test_error_that_is_not_ours(answering):
    client, _ = answering(b"HTTP/1.1 500 x\r\ncontent-length: 3\r\n\r\nduh")
    with pytest.raises(AdminError, match="the edge answered 500"):
        client.call("GET", "/status")


def test_nobody_there(tmp_path):
    with pytest.raises(AdminError, match="no edge answers"):
        AdminClient(run_folder=tmp_path).call("GET", "/status")


@pytest.mark.parametrize("path", ["/a b", "/x\r\nEvil: 1", "/ä", "x"])
def test_a_path_that_is_not_quoted_is_a_mistake_of_ours(tmp_path, path):
    with pytest.raises(ValueError, match="not quoted"):
        AdminClient(run_folder=tmp_path).call("GET", path)
