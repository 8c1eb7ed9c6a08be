"""Hands each input back as the output of its datatype; inputs that are not given come back empty."""
import json

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        config = json.loads(args["model_config"])
        self.dtypes = {o["name"][4:]: pb_utils.triton_string_to_numpy(o["data_type"]) for o in config["output"]}

    def execute(self, requests):
        out = []
        for req in requests:
            tensors = []
            for kind, dtype in self.dtypes.items():
                given = pb_utils.get_input_tensor_by_name(req, "IN_" + kind)
                value = np.array([], dtype=dtype) if given is None else given.as_numpy()
                tensors.append(pb_utils.Tensor("OUT_" + kind, value))
            out.append(pb_utils.InferenceResponse(tensors))
        return out
