"""Where a comparison is not bit by bit, and why."""

# (mnemonic without encoding, ulps, why)
ULPS = [
    (r"v_(rcp|rsq|sqrt|exp|log|sin|cos)(_iflag)?_(f16|f32|f64)", 1,
     "hardware states about one ulp; the emulator and the evaluator round f64 results"),
]

# (mnemonic, families, why): differences that are known and right.
ACCEPTED = []

# (mnemonic, why): no probe.
WITHOUT = []
