#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

/// Where the sample's numbers come from. Only + - * / sqrt and rounding are used, all of which IEEE 754 fixes to the
/// last bit: a sine from the C library may differ between its versions, and with it the committed files.
namespace runrig::data {

/// Scrambles 64 bits (splitmix64's finaliser): every input bit moves every output bit.
constexpr std::uint64_t scramble(std::uint64_t bits) noexcept {
  bits += 0x9e3779b97f4a7c15U;
  bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9U;
  bits = (bits ^ (bits >> 27)) * 0x94d049bb133111ebU;
  return bits ^ (bits >> 31);
}

/// Numbers by seed and place instead of by a running state, so that the order of writing does not matter.
class Noise {
 public:
  constexpr Noise(std::uint64_t seed, std::uint64_t stream) noexcept : key_(scramble(seed) ^ scramble(~stream)) {}

  [[nodiscard]] constexpr std::uint64_t bits(std::uint64_t index) const noexcept { return scramble(key_ + index); }
  /// Uniform in [0, 1), in steps of 2^-53.
  [[nodiscard]] constexpr double uniform(std::uint64_t index) const noexcept {
    return static_cast<double>(bits(index) >> 11) * 0x1p-53;
  }
  /// Of mean 0 and standard deviation 1, between -3.5 and 3.5: the scaled sum of four uniform numbers.
  [[nodiscard]] constexpr double bell(std::uint64_t index) const noexcept {
    double sum = 0;
    for (std::uint64_t i = 0; i < 4; ++i) sum += uniform(4 * index + i);
    return (sum - 2.0) * 1.7320508075688772;  // four variances of 1/12 each
  }

 private:
  std::uint64_t key_;
};

/// A wave between -1 and 1 with a period of 1, of parabola arcs; within 0.06 of sin(2 pi t).
inline double wave(double t) noexcept {
  const double phase = t - std::floor(t);
  return phase < 0.5 ? 16.0 * phase * (0.5 - phase) : -16.0 * (phase - 0.5) * (1.0 - phase);
}

/// `value` rounded to a multiple of `step`, a power of two: real instruments have a resolution, and deflate needs one.
inline double quantised(double value, double step) noexcept { return std::round(value / step) * step; }

}  // namespace runrig::data
