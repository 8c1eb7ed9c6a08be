"""Stateful: OUTPUT is the sum and COUNT the number of a sequence's inputs so far; COUNT is -n on the sequence's last request."""
import numpy as np
import triton_python_backend_utils as pb_utils


def first(request, name):
    return int(pb_utils.get_input_tensor_by_name(request, name).as_numpy().reshape(-1)[0])


class TritonPythonModel:
    def initialize(self, args):
        self.live = {}

    def execute(self, requests):
        out = []
        for req in requests:
            sequence = first(req, "CORRID")
            if first(req, "START"):
                self.live[sequence] = (0, 0)
            if sequence not in self.live:
                out.append(pb_utils.InferenceResponse(error=pb_utils.TritonError(f"sequence {sequence} was not started")))
                continue
            total, count = self.live[sequence]
            total, count = total + first(req, "INPUT"), count + 1
            self.live[sequence] = (total, count)
            if first(req, "END"):
                del self.live[sequence]
                count = -count
            out.append(pb_utils.InferenceResponse([
                pb_utils.Tensor("OUTPUT", np.array([[total]]).astype(np.int32)),
                pb_utils.Tensor("COUNT", np.array([[count]], dtype=np.int32))]))
        return out
