"""Examples of convolutions: every option, kernels and images of every parity, both ways to dx."""

from __future__ import annotations

from manual.examples import Example

__all__ = [
    "CONV1D", "CONV2D", "CONV3D", "TRANSPOSED1D", "TRANSPOSED2D", "TRANSPOSED3D",
]  # fmt: skip

CONV2D = (
    Example(
        {"in_channels": 2, "out_channels": 3, "kernel_size": 3}, ((3, 2, 5, 4),), exact=True
    ),
    Example(
        {"in_channels": 3, "out_channels": 2, "kernel_size": (2, 3), "padding": (1, 2),
         "bias": False},
        ((2, 3, 4, 4),), exact=True,
    ),
    Example(
        {"in_channels": 2, "out_channels": 2, "kernel_size": 3, "stride": (3, 2),
         "padding": 1},
        ((1, 2, 6, 7),), exact=True,
    ),
    Example(
        {"in_channels": 1, "out_channels": 2, "kernel_size": (3, 2), "dilation": (2, 3),
         "padding": "same"},
        ((2, 1, 4, 5),), exact=True,
    ),
    Example(
        {"in_channels": 4, "out_channels": 6, "kernel_size": 2, "groups": 2,
         "padding": "valid"},
        ((4, 3, 2),), exact=True,
    ),
    Example(
        {"in_channels": 3, "out_channels": 6, "kernel_size": 3, "padding": 1, "groups": 3},
        ((1, 3, 3, 4),), exact=True,
    ),
    Example(
        {"in_channels": 3, "out_channels": 2, "kernel_size": 1}, ((2, 3, 2, 3),), exact=True
    ),
    Example(
        {"in_channels": 8, "out_channels": 8, "kernel_size": 2}, ((2, 8, 3, 2),), exact=True
    ),
    Example(
        {"in_channels": 16, "out_channels": 4, "kernel_size": 2, "groups": 2},
        ((1, 16, 2, 3),), exact=True,
    ),
    *(
        Example(
            {"in_channels": 2, "out_channels": 2, "kernel_size": 3, "padding": (2, 1),
             "stride": stride, "padding_mode": mode},
            ((2, 2, 3, 4),), exact=True,
        )
        for mode, stride in (("reflect", 1), ("replicate", 2), ("circular", (1, 2)))
    ),
    Example(
        {"in_channels": 1, "out_channels": 1, "kernel_size": (1, 2), "padding": (0, 2),
         "padding_mode": "circular"},
        ((1, 1, 1, 3),), exact=True,
    ),
    *(
        Example(
            {"in_channels": 1, "out_channels": 1, "kernel_size": (2, 4), "padding": "same",
             "padding_mode": mode, "bias": False},
            ((1, 1, 4, 5),), exact=True,
        )
        for mode in ("zeros", "reflect", "replicate", "circular")
    ),
    Example(
        {"in_channels": 2, "out_channels": 1, "kernel_size": (2, 3), "padding": (1, 2),
         "dilation": (2, 3)},
        ((1, 2, 4, 3),), exact=True,
    ),
    Example(
        {"in_channels": 2, "out_channels": 3, "kernel_size": 1}, ((4, 2, 3, 5),), exact=True
    ),
    Example(
        {"in_channels": 1, "out_channels": 2, "kernel_size": 1, "stride": (1, 2),
         "padding": (1, 2)},
        ((1, 1, 2, 5),), exact=True,
    ),
    Example(
        {"in_channels": 2, "out_channels": 1, "kernel_size": 1, "stride": (3, 1),
         "padding": (2, 1)},
        ((1, 2, 5, 2),), exact=True,
    ),
    Example(
        {"in_channels": 1, "out_channels": 3, "kernel_size": (4, 2), "padding": "same"},
        ((1, 1, 3, 4),), exact=True,
    ),
    Example(
        {"in_channels": 2, "out_channels": 1, "kernel_size": 2, "stride": (2, 1),
         "padding": (1, 0)},
        ((1, 2, 5, 3),), exact=True,
    ),
    Example(
        {"in_channels": 1, "out_channels": 2, "kernel_size": 2, "dilation": (1, 2),
         "stride": (1, 2)},
        ((1, 1, 3, 6),), exact=True,
    ),
    Example(
        {"in_channels": 4, "out_channels": 2, "kernel_size": 2, "padding": (1, 0),
         "groups": 2},
        ((1, 4, 2, 3),), exact=True,
    ),
    Example(
        {"in_channels": 1, "out_channels": 1, "kernel_size": 2, "padding": (2, 0)},
        ((1, 1, 2, 3),), exact=True,
    ),
    Example(  # kernel columns that meet nothing but zeros
        {"in_channels": 1, "out_channels": 1, "kernel_size": (1, 7), "stride": 2,
         "padding": (0, 2)},
        ((1, 1, 1, 4),), exact=True,
    ),
    Example(  # the last rows of the border are met by no window
        {"in_channels": 1, "out_channels": 1, "kernel_size": (2, 1), "stride": (4, 1),
         "padding": (2, 0), "dilation": (3, 1)},
        ((1, 1, 3, 1),), exact=True,
    ),
    Example(
        {"in_channels": 1, "out_channels": 1, "kernel_size": 1, "padding": (0, 1)},
        ((1, 1, 2, 3),), exact=True,
    ),
    Example(
        {"in_channels": 1, "out_channels": 2, "kernel_size": 1, "padding": (1, 0)},
        ((1, 1, 2, 3),), exact=True,
    ),
    Example(
        {"in_channels": 2, "out_channels": 4, "kernel_size": 1, "groups": 2}, ((1, 2, 2, 3),),
        exact=True,
    ),
)  # fmt: skip

CONV1D = (
    Example(
        {"in_channels": 2, "out_channels": 3, "kernel_size": 3}, ((2, 2, 5),), exact=True
    ),
    Example(
        {"in_channels": 2, "out_channels": 4, "kernel_size": 2, "stride": 2, "padding": 1,
         "dilation": 3, "groups": 2, "bias": False},
        ((2, 7),), exact=True,
    ),
    *(
        Example(
            {"in_channels": 2, "out_channels": 2, "kernel_size": 4, "padding": "same",
             "padding_mode": mode, "groups": groups},
            ((1, 2, 5),), exact=True,
        )
        for mode, groups in
        (("reflect", 2), ("replicate", 1), ("circular", 1))
    ),
)  # fmt: skip
CONV3D = (
    Example(
        {"in_channels": 2, "out_channels": 2, "kernel_size": (2, 1, 2)}, ((2, 2, 3, 2, 2),),
        exact=True,
    ),
    Example(
        {"in_channels": 2, "out_channels": 2, "kernel_size": (3, 2, 1), "stride": (2, 1, 2),
         "padding": (2, 1, 0), "dilation": (1, 2, 1), "groups": 2, "bias": False},
        ((2, 3, 2, 2),), exact=True,
    ),
    *(
        Example(
            {"in_channels": groups, "out_channels": groups, "kernel_size": (2, 1, 1),
             "padding": (1, 1, 0), "padding_mode": mode, "groups": groups},
            ((1, groups, 2, 2, 1),), exact=True,
        )
        for mode, groups in (("reflect", 2), ("replicate", 1), ("circular", 1))
    ),
    Example(  # a plane of the kernel that meets nothing but zeros, and windows that meet none
        {"in_channels": 1, "out_channels": 1, "kernel_size": (3, 1, 1), "padding": (3, 0, 0),
         "stride": (4, 1, 1), "dilation": (1,)},
        ((1, 1, 2, 1, 2),), exact=True,
    ),
)  # fmt: skip
TRANSPOSED1D = (
    Example(
        {"in_channels": 2, "out_channels": 3, "kernel_size": 3, "stride": 2, "padding": 1,
         "output_padding": 1},
        ((2, 2, 3),), exact=True,
    ),
    Example(
        {"in_channels": 4, "out_channels": 2, "kernel_size": 2, "dilation": 3, "groups": 2,
         "output_padding": 2, "bias": False},
        ((4, 3),), exact=True,
    ),
)  # fmt: skip
TRANSPOSED2D = (
    Example(
        {"in_channels": 2, "out_channels": 2, "kernel_size": (2, 3)}, ((2, 2, 3, 2),), exact=True
    ),
    Example(
        {"in_channels": 2, "out_channels": 4, "kernel_size": (3, 2), "stride": (2, 3),
         "padding": (1, 0), "output_padding": (1, 2), "groups": 2, "dilation": (1, 2)},
        ((1, 2, 3, 2),), exact=True,
    ),
    Example(
        {"in_channels": 1, "out_channels": 2, "kernel_size": (3, 1), "padding": (2, 1),
         "dilation": (2, 3), "output_padding": (0, 2), "bias": False},
        ((1, 3, 4),), exact=True,
    ),
    Example(  # a row that adds to none of the output's
        {"in_channels": 1, "out_channels": 1, "kernel_size": (1, 2), "padding": (2, 0),
         "dilation": (8, 1), "output_padding": (7, 0)},
        ((1, 1, 1, 2),), exact=True,
    ),
)  # fmt: skip
TRANSPOSED3D = (
    Example(
        {"in_channels": 2, "out_channels": 1, "kernel_size": (2, 1, 2), "stride": (1, 2, 1),
         "output_padding": (0, 1, 0)},
        ((2, 2, 2, 2, 1),), exact=True,
    ),
    Example(
        {"in_channels": 2, "out_channels": 2, "kernel_size": (3, 2, 1), "stride": (2, 1, 1),
         "padding": (1, 0, 0), "output_padding": (1, 0, 0), "groups": 2, "bias": False},
        ((2, 2, 1, 2),), exact=True,
    ),
)  # fmt: skip
