"""A user of the page without a browser: Streamlit's own messages over its own socket; the server does all it does."""

import http.cookiejar
import time
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect
from websockets.typing import Subprotocol

PATIENCE = 120.0
"""Seconds in which a page must be done."""


@dataclass
class Drawn:
    """What one run of a page sent.

    Attributes:
        seconds: from the question to the end of the run.
        hits: cards of hits.
        texts: of progress bars, in the order in which they came.
        errors: what the page, or its script, complained of.
        uploader: widget id of the file uploader, where there is one.
    """

    seconds: float = 0.0
    hits: int = 0
    texts: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    uploader: str | None = None


class Client:
    """One session; close it."""

    def __init__(self, port: int) -> None:
        self._address = f"http://127.0.0.1:{port}"
        self._socket = connect(
            f"ws://127.0.0.1:{port}/_stcore/stream",
            subprotocols=[Subprotocol("streamlit")],
            max_size=None,
            open_timeout=PATIENCE,
        )
        self._session = ""
        self._page = ""

    def close(self) -> None:
        self._socket.close()

    def run(self, query: str = "", *, page: str = "", widgets: Any = None) -> Drawn:
        """Ask for a page and wait until it is drawn."""
        message = BackMsg()
        state = message.rerun_script
        state.query_string = query
        if page:
            state.page_name = page
        else:
            state.page_script_hash = self._page
        if widgets is not None:
            state.widget_states.CopyFrom(widgets)
        return self._drawn(message)

    def upload(self, name: str, content: bytes) -> Drawn:
        """Send a scan by the uploader of the search page, and wait for its hits."""
        uploader = self.run().uploader
        assert uploader is not None, "no uploader on the page"
        place = self._place_for(name)
        self._put(place.upload_url, name, content)
        message = BackMsg()
        state = message.rerun_script
        state.page_script_hash = self._page
        widget = state.widget_states.widgets.add()
        widget.id = uploader
        file = widget.file_uploader_state_value.uploaded_file_info.add()
        file.name, file.size, file.file_id = name, len(content), place.file_id
        file.file_urls.CopyFrom(place)
        return self._drawn(message)

    def _drawn(self, message: BackMsg) -> Drawn:
        found, started = Drawn(), time.perf_counter()
        self._socket.send(message.SerializeToString())
        for answer in self._answers():
            if answer.HasField("new_session"):
                self._session = answer.new_session.initialize.session_id
                self._page = answer.new_session.page_script_hash or self._page
            elif answer.HasField("delta"):
                _note(answer, found)
            elif answer.WhichOneof("type") == "script_finished":
                if answer.script_finished == ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                    found.hits = 0
                    continue
                found.seconds = time.perf_counter() - started
                return found
        raise TimeoutError("the page did not come to its end")

    def _answers(self) -> Iterator[ForwardMsg]:
        until = time.monotonic() + PATIENCE
        while (left := until - time.monotonic()) > 0:
            answer = ForwardMsg()
            answer.ParseFromString(self._socket.recv(timeout=left))
            yield answer

    def _place_for(self, name: str) -> Any:
        message = BackMsg()
        message.file_urls_request.request_id = uuid.uuid4().hex
        message.file_urls_request.file_names.append(name)
        message.file_urls_request.session_id = self._session
        self._socket.send(message.SerializeToString())
        for answer in self._answers():
            if answer.HasField("file_urls_response"):
                return answer.file_urls_response.file_urls[0]
        raise TimeoutError("no place for the upload")

    def _put(self, url: str, name: str, content: bytes) -> None:
        jar = http.cookiejar.CookieJar()
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
        opener.open(f"{self._address}/_stcore/health").read()
        token = {cookie.name: cookie.value or "" for cookie in jar}.get("_streamlit_xsrf", "")
        border = uuid.uuid4().hex
        head = f'--{border}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
        request = urllib.request.Request(
            f"{self._address}{url}",
            data=head + content + f"\r\n--{border}--\r\n".encode(),
            method="PUT",
            headers={"Content-Type": f"multipart/form-data; boundary={border}", "X-Xsrftoken": token},
        )
        opener.open(request).read()


def _note(answer: ForwardMsg, found: Drawn) -> None:
    """What an element of the page tells."""
    element = answer.delta.new_element
    kind = element.WhichOneof("type")
    if kind == "html":
        found.hits += element.html.body.count('class="rs-rank"')
    elif kind == "progress":
        found.texts.append(element.progress.text)
    elif kind == "file_uploader":
        found.uploader = element.file_uploader.id
    elif kind == "exception":
        found.errors.append(element.exception.message)
    elif kind == "alert" and element.alert.format == element.alert.ERROR:
        found.errors.append(element.alert.body)
