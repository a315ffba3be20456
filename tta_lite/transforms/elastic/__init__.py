"""Networks within a network: which kernels, depths and widths it can be used at, and each as a network of its own."""
