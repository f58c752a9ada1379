"""Many runs at a time: sweeps, the paper at toy scale, benchmarks."""
