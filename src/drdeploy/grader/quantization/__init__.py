"""Store a grader's weights in fewer bits, and measure how much quality is lost.

``convert`` rewrites the ONNX graph with weights in int8, bf16 or fp16. ``calibration`` chooses the
quantized grader's temperature and operating points. ``verdict`` compares the quantized grader with
the original, photograph by photograph, and accepts or refuses it. If there are too few photographs,
``verdict`` says how many would be enough. ``losses`` estimates how much worse the probabilities
become. ``quantize`` makes a quantized archive from another archive.
"""
