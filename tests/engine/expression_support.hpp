#pragma once

#include <cstddef>
#include <cstring>
#include <map>
#include <random>
#include <span>
#include <string>
#include <string_view>
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

/// Evaluates for the elements of the columns that it names; one element if it names none.
Column evaluate(std::string_view text, const Columns& columns);
/// For `count` elements from `first`, copied to memory that is aligned to the items and no better.
Column evaluate_slice(std::string_view text, const Columns& columns, std::size_t first, std::size_t count);

/// A column of each dtype, "b", "i1", "u1", ..., "f8" after their codes, with all kinds of difficult numbers.
Columns random_inputs(std::mt19937_64& random, std::size_t elements);

}  // namespace runrig::test
