"""Stand-in with the vLLM backend's signature (decoupled, text in, text out).

sampling_parameters is a JSON string ({"max_tokens": "8"} with string values is
taken too, as the backend does).  fail_after in it makes the request fail after
that many tokens, hang_after makes it fall silent there until it is cancelled.  The prompt is repeated in the first response unless
exclude_input_in_output is true or stream is true (the backend's default).
"""
import json
import os
import threading
import time

import numpy as np
import triton_python_backend_utils as pb_utils

MOST = 100_000
FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
WORDS = ("the quick brown fox jumps over a lazy dog while seven "
         "ünïcode 漢字 words wait \"quoted\" and new\nline too").split(" ")


def first(req, name, default=None):
    t = pb_utils.get_input_tensor_by_name(req, name)
    return default if t is None else t.as_numpy().reshape(-1)[0]


class TritonPythonModel:
    def initialize(self, args):
        cfg = json.loads(args["model_config"])["parameters"]
        self.ttft = float(os.environ.get("TTFT_MS", cfg["ttft_ms"]["string_value"])) / 1e3
        self.itl = float(os.environ.get("ITL_MS", cfg["itl_ms"]["string_value"])) / 1e3
        self.live = 0
        self.lock = threading.Lock()

    def execute(self, requests):
        for req in requests:
            job = dict(
                text=first(req, "text_input"),
                stream=bool(first(req, "stream", False)),
                params=first(req, "sampling_parameters", b"{}"),
                exclude=first(req, "exclude_input_in_output"),
                want={k: bool(first(req, "return_" + k, False))
                      for k in ("finish_reason", "num_input_tokens", "num_output_tokens")},
                sender=req.get_response_sender(),
            )
            with self.lock:
                self.live += 1
            threading.Thread(target=self.run, args=(job,), daemon=True).start()
        return None

    @staticmethod
    def reply(job, text, finish, nin, nout):
        t = [pb_utils.Tensor("text_output", np.array([text.encode()], dtype=np.object_))]
        if job["want"]["finish_reason"]:
            t.append(pb_utils.Tensor("finish_reason", np.array([finish.encode()], dtype=np.object_)))
        if job["want"]["num_input_tokens"]:
            t.append(pb_utils.Tensor("num_input_tokens", np.array([nin], dtype=np.uint32)))
        if job["want"]["num_output_tokens"]:
            t.append(pb_utils.Tensor("num_output_tokens", np.array([nout], dtype=np.uint32)))
        return pb_utils.InferenceResponse(t)

    def run(self, job):
        sender = job["sender"]
        try:
            try:
                p = json.loads(job["params"])
                want, fail = int(p.get("max_tokens", 16)), int(p.get("fail_after", -1))
                hang = int(p.get("hang_after", -1))
                if want > MOST:
                    raise ValueError(f"max_tokens is more than {MOST}")
            except Exception as e:
                sender.send(pb_utils.InferenceResponse(error=pb_utils.TritonError(
                    f"bad sampling_parameters: {e}", pb_utils.TritonError.INVALID_ARG)), flags=FINAL)
                return
            text = job["text"].decode()
            nin = len(text.split())
            exclude = job["stream"] if job["exclude"] is None else bool(job["exclude"])
            words = [" " + WORDS[(nin + i) % len(WORDS)] for i in range(want)]
            time.sleep(self.ttft)
            if not job["stream"]:
                time.sleep(self.itl * (want - 1))
                body = "".join(words)
                sender.send(self.reply(job, body if exclude else text + body, "length", nin, want), flags=FINAL)
                return
            for i, w in enumerate(words):
                if i:
                    time.sleep(self.itl)
                while i == hang and not sender.is_cancelled():
                    time.sleep(0.02)
                if sender.is_cancelled():
                    break
                if i == fail:
                    sender.send(pb_utils.InferenceResponse(error=pb_utils.TritonError(
                        f"engine failed after {i} tokens")), flags=FINAL)
                    return
                last = i == want - 1
                body = w if exclude or i else text + w
                # the backend marks the last token's response itself as FINAL
                sender.send(self.reply(job, body, "length" if last else "", nin, 1),
                            flags=FINAL if last else 0)
            else:
                return
            sender.send(flags=FINAL)
        finally:
            with self.lock:
                self.live -= 1

    def finalize(self):
        while self.live:
            time.sleep(0.05)
