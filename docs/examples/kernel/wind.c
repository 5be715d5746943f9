/* Kernels for `runrig map --kernel`: what docs/kernels.md explains, and a test runs. */
#include <math.h>
#include <runrig/kernel.h>
#include <stdlib.h>

/* Speed, and the direction that the wind comes from in degrees: two results of one pass. Inputs of any type of number
 * arrive as float64. */
RUNRIG_KERNEL(wind, "float64 float64 -> float32 float32") {
  const double *u = block->inputs[0].data, *v = block->inputs[1].data;
  float *speed = block->outputs[0].data, *direction = block->outputs[1].data;
  for (uint64_t i = 0; i < block->count; ++i) {
    speed[i] = (float)sqrt(u[i] * u[i] + v[i] * v[i]);
    direction[i] = (float)fmod(270 - atan2(v[i], u[i]) * (180 / 3.14159265358979323846), 360);
  }
  return 0;
}

/* Elements above --parameter become NaN. For two types, each computed in its own. */
RUNRIG_KERNEL(limit, "any -> any") {
  char* end = NULL;
  const double most = strtod(block->parameter, &end);
  if (end == block->parameter || *end != '\0')
    return runrig_fail(block, "--parameter '%s' is no number", block->parameter);
  if (block->inputs[0].dtype == RUNRIG_FLOAT32) {
    const float* in = block->inputs[0].data;
    float* out = block->outputs[0].data;
    for (uint64_t i = 0; i < block->count; ++i) out[i] = in[i] > most ? NAN : in[i];
  } else if (block->inputs[0].dtype == RUNRIG_FLOAT64) {
    const double* in = block->inputs[0].data;
    double* out = block->outputs[0].data;
    for (uint64_t i = 0; i < block->count; ++i) out[i] = in[i] > most ? NAN : in[i];
  } else {
    return runrig_fail(block, "%s is neither float32 nor float64", block->inputs[0].name);
  }
  return 0;
}

/* Weights by the last two coordinates, as where a correction depends on the place in a detector. */
RUNRIG_KERNEL(flatten, "float64 -> float64") {
  if (block->rank < 2) return runrig_fail(block, "%s has fewer than two axes", block->inputs[0].name);
  const uint32_t y_axis = block->rank - 2, x_axis = block->rank - 1;
  const uint64_t rows = block->extent[y_axis], columns = block->extent[x_axis];
  const double y_middle = (double)block->shape[y_axis] / 2, x_middle = (double)block->shape[x_axis] / 2;
  const double* in = block->inputs[0].data;
  double* out = block->outputs[0].data;
  for (uint64_t i = 0; i < block->count; ++i) {
    const double x = (double)(block->start[x_axis] + i % columns) - x_middle;
    const double y = (double)(block->start[y_axis] + i / columns % rows) - y_middle;
    out[i] = in[i] * (1 + (x * x + y * y) / 1e4);
  }
  return 0;
}
