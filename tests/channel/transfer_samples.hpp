#pragma once

#include <array>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "runrig/channel/transfer.hpp"

/// Types to send, one of each sort.
namespace runrig::pickle::test_samples {

enum class Colour : std::uint8_t { red, green, blue };

struct Nothing {
  friend bool operator==(const Nothing&, const Nothing&) = default;
};
struct Point {
  double x = 0;
  double y = 0;
  friend bool operator==(const Point&, const Point&) = default;
};
struct Line {
  Point from;
  Point to;
  std::string name;
  friend bool operator==(const Line&, const Line&) = default;
};
struct Record {
  int id = 0;
  std::string name;
  char label[4] = {};
  int matrix[2][2] = {};
  std::array<Point, 1> more;
  friend bool operator==(const Record&, const Record&) = default;
};
/// As many fields as there may be.
struct Wide {
  int a0{}, a1{}, a2{}, a3{}, a4{}, a5{}, a6{}, a7{}, a8{}, a9{}, a10{}, a11{}, a12{}, a13{}, a14{}, a15{}, a16{},
      a17{}, a18{}, a19{}, a20{}, a21{}, a22{}, a23{}, a24{}, a25{}, a26{}, a27{}, a28{}, a29{}, a30{}, last{};
  friend bool operator==(const Wide&, const Wide&) = default;
};

/// Private, and sent as bytes by declaration.
class Opaque {
 public:
  Opaque() = default;
  explicit Opaque(std::uint64_t bits) : bits_(bits) {}
  friend bool operator==(const Opaque&, const Opaque&) = default;

 private:
  std::uint64_t bits_ = 0;
};

/// Private, and sent in a way of its own.
class Fraction {
 public:
  static Fraction of(int numerator, int denominator) {
    Fraction result;
    result.numerator_ = numerator;
    result.denominator_ = denominator;
    return result;
  }
  [[nodiscard]] int numerator() const { return numerator_; }
  [[nodiscard]] int denominator() const { return denominator_; }
  friend bool operator==(const Fraction&, const Fraction&) = default;

 private:
  int numerator_ = 0;
  int denominator_ = 1;
};

inline std::vector<std::byte> counted_bytes(std::size_t count) {
  std::vector<std::byte> result(count);
  for (std::size_t i = 0; i < count; ++i) result[i] = static_cast<std::byte>(i % 256);
  return result;
}

}  // namespace runrig::pickle::test_samples

template <>
inline constexpr bool runrig::transfers_as_bytes<runrig::pickle::test_samples::Opaque> = true;

template <>
struct runrig::Transfer<runrig::pickle::test_samples::Fraction> {
  using Fraction = pickle::test_samples::Fraction;
  static void write(pickle::Encoder& encoder, const Fraction& value) {
    encoder.begin_tuple(2);
    encoder.integer(value.numerator());
    encoder.integer(value.denominator());
    encoder.end_tuple(2);
  }
  static Fraction read(pickle::Decoder& decoder) {
    decoder.begin_tuple(2);
    const int numerator = decoder.integer<int>();
    const int denominator = decoder.integer<int>();
    if (denominator == 0) decoder.fail("a fraction without denominator");
    decoder.end_tuple(2);
    return Fraction::of(numerator, denominator);
  }
};
