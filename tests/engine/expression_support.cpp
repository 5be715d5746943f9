#include "expression_support.hpp"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <chrono>
#include <limits>
#include <stdexcept>

#include "support.hpp"

namespace runrig::test {
namespace {

template <class T>
T random_integer(std::mt19937_64& random) {
  constexpr std::array<T, 6> edges{
      std::numeric_limits<T>::min(), std::numeric_limits<T>::max(), 0, 1, static_cast<T>(-1), 2};
  switch (random() % 4) {
    case 0:
      return edges[random() % edges.size()];
    case 1:
      return static_cast<T>(random() % 20);
    case 2:
      return static_cast<T>(0 - random() % 20);
    default:
      return static_cast<T>(random());
  }
}

double random_real(std::mt19937_64& random) {
  constexpr std::array edges{
      0.0,    -0.0,   1.0,   -1.0, 0.5,     -0.5,    1.5,    2.5,     HUGE_VAL,           -HUGE_VAL,
      1e-310, 5e-324, 1e-45, 6e-8, 65504.0, 65519.0, 3.4e38, 1.7e308, 4503599627370497.5, 1e16,
      -1e-40};
  const auto sign = [&] { return random() % 2 == 0 ? 1.0 : -1.0; };
  switch (random() % 6) {
    case 0:
      return edges[random() % edges.size()];
    case 1:
      return std::numeric_limits<double>::quiet_NaN();
    case 2:
      return sign() * static_cast<double>(random() % 20);
    case 3:
      return std::bit_cast<double>(random());
    default:
      return sign() * static_cast<double>(random()) * 0x1p-62;
  }
}

template <class T>
Column random_column(std::mt19937_64& random, std::size_t elements) {
  std::vector<T> numbers(elements);
  for (T& each : numbers) {
    if constexpr (std::is_same_v<T, half>)
      each = half(static_cast<float>(random_real(random)));
    else if constexpr (std::is_floating_point_v<T>)
      each = static_cast<T>(random_real(random));
    else
      each = random_integer<T>(random);
  }
  return column_of(numbers);
}

}  // namespace

std::vector<double> as_doubles(const Column& column) {
  return visit_dtype(column.dtype, [&]<class T>(std::type_identity<T>) {
    std::vector<double> result;
    if constexpr (std::is_same_v<T, bool>) {
      for (const auto each : numbers_of<std::uint8_t>(column)) result.push_back(each);
    } else if constexpr (std::is_same_v<T, half>) {
      for (const auto each : numbers_of<half>(column)) result.push_back(static_cast<double>(static_cast<float>(each)));
    } else {
      for (const auto each : numbers_of<T>(column)) result.push_back(static_cast<double>(each));
    }
    return result;
  });
}

std::ifstream ask_python(const std::string& python, const char* program, const std::filesystem::path& folder,
                         const Columns& columns, const std::vector<std::string>& lines) {
  for (const auto& [name, column] : columns) {
    std::ofstream(folder / name, std::ios::binary)
        .write(reinterpret_cast<const char*>(column.bytes.data()), static_cast<std::streamsize>(column.bytes.size()));
  }
  {
    std::ofstream cases(folder / "cases");
    for (const std::string& each : lines) cases << each << '\n';
  }
  const auto run = run_command({python, "-c", program, folder.string()}, {}, std::chrono::seconds(100),
                               {"NPY_PROMOTION_STATE=weak"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  return std::ifstream(folder / "results", std::ios::binary);
}

Column evaluate(std::string_view text, const Columns& columns) {
  std::size_t elements = 1;
  const auto expression = Expression::parse(text);
  for (const std::string& name : expression.variables()) elements = columns.at(name).elements();
  return evaluate_slice(text, columns, 0, elements);
}

Column evaluate_slice(std::string_view text, const Columns& columns, std::size_t first, std::size_t count) {
  const auto expression = Expression::parse(text);
  std::vector<DType> types;
  for (const std::string& name : expression.variables()) types.push_back(columns.at(name).dtype);
  const Program program = expression.bind(types);
  std::vector<std::vector<std::byte>> copies;
  std::vector<Operand> operands;
  for (const std::string& name : expression.variables()) {
    const Column& column = columns.at(name);
    const std::size_t item = item_bytes(column.dtype);
    if ((first + count) * item > column.bytes.size())
      throw std::logic_error("evaluate_slice: columns of unequal length");
    auto& copy = copies.emplace_back(item + count * item);
    if (count != 0) std::memcpy(copy.data() + item, column.bytes.data() + first * item, count * item);
    operands.push_back({copy.data() + item, false});
  }
  const std::size_t item = item_bytes(program.result());
  std::vector<std::byte> out(item + count * item);
  std::vector<std::byte> scratch(program.scratch_bytes() + 1);
  run_program(program.code(), operands, out.data() + item, count, scratch.data() + 1);
  return {program.result(), std::vector<std::byte>(out.begin() + static_cast<std::ptrdiff_t>(item), out.end())};
}

Columns random_inputs(std::mt19937_64& random, std::size_t elements) {
  Columns columns;
  for (std::size_t i = 1; i < real_dtype_count; ++i) {
    const auto dtype = static_cast<DType>(i);
    visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
      if constexpr (!std::is_same_v<T, bool>) {
        columns[std::string(dtype_string(dtype).substr(1))] = random_column<T>(random, elements);
      }
    });
  }
  Column booleans{DType::boolean, std::vector<std::byte>(elements)};
  for (std::byte& each : booleans.bytes) each = static_cast<std::byte>(random() % 2);
  columns["b"] = booleans;
  return columns;
}

}  // namespace runrig::test
