"""One thread for torch: these nets are tiny and threads that wait for a busy core cost minutes.

Measured on two cores shared with another test run: nine minutes instead of two.
"""

import torch

torch.set_num_threads(1)
