#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "runrig/engine/expression.hpp"
#include "runrig/shm/dtype.hpp"

namespace runrig::test {

/// Elements of one dtype, as they lie in memory.
struct Column {
  DType dtype = DType::float64;
  std::vector<std::byte> bytes;
  [[nodiscard]] std::size_t elements() const { return bytes.size() / item_bytes(dtype); }
};
using Columns = std::map<std::string, Column, std::less<>>;

template <class T>
Column column_of(const std::vector<T>& numbers) {
  Column column{dtype_of<T>, std::vector<std::byte>(numbers.size() * sizeof(T))};
  if (!numbers.empty()) std::memcpy(column.bytes.data(), numbers.data(), column.bytes.size());
  return column;
}
template <class T>
std::vector<T> numbers_of(const Column& column) {
  std::vector<T> numbers(column.bytes.size() / sizeof(T));
  if (!numbers.empty()) std::memcpy(numbers.data(), column.bytes.data(), column.bytes.size());
  return numbers;
}
/// Rounded where the dtype is wider.
std::vector<double> as_doubles(const Column& column);

/// Runs a Python program whose first argument is `folder`, in which it finds the columns by their names and `lines` in
/// "cases", and in which it leaves "results"; those are returned, open. NumPy has the promotion of NumPy 2.
std::ifstream ask_python(const std::string& python, const char* program, const std::filesystem::path& folder,
                         const Columns& columns, const std::vector<std::string>& lines);

/// Evaluates for the elements of the columns that it names; one element if it names none.
Column evaluate(std::string_view text, const Columns& columns);
/// For `count` elements from `first`, copied to memory that is aligned to the items and no better.
Column evaluate_slice(std::string_view text, const Columns& columns, std::size_t first, std::size_t count);

/// A column of each dtype, "b", "i1", "u1", ..., "f8" after their codes, with all kinds of difficult numbers.
Columns random_inputs(std::mt19937_64& random, std::size_t elements);

/// Numbers of every magnitude and sign, dense where the functions do something.
template <class T>
std::vector<T> difficult_numbers(std::mt19937_64& random, std::size_t each) {
  using Bits = std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>;
  using Limits = std::numeric_limits<T>;
  std::vector<T> numbers{
      0,  -T{0},         Limits::infinity(), -Limits::infinity(), Limits::quiet_NaN(),  1,
      -1, Limits::max(), -Limits::max(),     Limits::min(),       Limits::denorm_min(), -Limits::denorm_min()};
  const auto unit = [&] { return static_cast<T>(static_cast<double>(static_cast<std::int64_t>(random())) * 0x1p-63); };
  for (std::size_t i = 0; i < 2 * each; ++i) numbers.push_back(std::bit_cast<T>(static_cast<Bits>(random())));
  for (const double scale : {1e-30, 1e-8, 0.1, 1.0, 2.0, 10.0, 89.5, 105.0, 711.0, 746.0, 1e4, 1e7, 1e12, 1e20}) {
    for (std::size_t i = 0; i < each; ++i) numbers.push_back(unit() * static_cast<T>(scale));
  }
  for (std::size_t i = 0; i < each; ++i) {
    numbers.push_back(1 + unit() * static_cast<T>(1e-4));
    numbers.push_back(static_cast<T>(static_cast<double>(i) * 1.5707963267948966));
    numbers.push_back(Limits::min() * unit());
    numbers.push_back(Limits::max() * unit());
  }
  return numbers;
}

}  // namespace runrig::test
