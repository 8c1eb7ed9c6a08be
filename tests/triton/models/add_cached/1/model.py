"""OUTPUT = INPUT0 + INPUT1, in 5 ms; the server keeps its answers in a cache."""
import time

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        time.sleep(0.005)
        return [pb_utils.InferenceResponse([pb_utils.Tensor("OUTPUT", sum(
            pb_utils.get_input_tensor_by_name(req, name).as_numpy() for name in ("INPUT0", "INPUT1")))]) for req in requests]
