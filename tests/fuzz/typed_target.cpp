#include <array>
#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <variant>
#include <vector>

#include "runrig/channel/transfer.hpp"
#include "runrig/channel/transfer_arrays.hpp"
#include "runrig/engine/transfer_eigen.hpp"
#include "runrig/sync/error.hpp"
#include "target.hpp"

// Any bytes as a pickle of a C++ type, which the first byte chooses: a FormatError, or a value that is written and
// reads back as what writes the same bytes again.
namespace runrig {
namespace {

struct Point {
  double x = 0;
  float y = 0;
};
struct Record {
  std::int8_t id = 0;
  std::string name;
  char label[4] = {};
  bool flags[2][2] = {};
  std::optional<Point> where;
};

/// What a T arrives as, as what is sent again: it is not always a T that arrives.
template <class T>
struct SentAgain {
  static const T& of(const T& value) { return value; }
};
template <Element T>
struct SentAgain<ByValue<T>> {
  static ByValue<T> of(const NdArray<T>& array) { return by_value(array); }
};

template <class T>
void read(std::span<const std::byte> bytes) {
  std::vector<std::byte> first;
  try {
    const auto value = pickle::decode<T>(bytes);
    pickle::encode(first, SentAgain<T>::of(value));
  } catch (const FormatError&) {
    return;
  }
  for (int protocol = 2; protocol <= 5; ++protocol) {
    std::vector<std::byte> again;
    std::vector<std::byte> last;
    const auto value = pickle::decode<T>(first, pickle::unlimited);
    pickle::encode(again, SentAgain<T>::of(value), {.protocol = protocol});
    const auto copy = pickle::decode<T>(again, pickle::unlimited);
    pickle::encode(last, SentAgain<T>::of(copy));
    fuzz::require(last == first, "a value reads back as itself");
  }
}

using Reader = void (*)(std::span<const std::byte>);
template <class... T>
constexpr std::array<Reader, sizeof...(T)> readers_of{&read<T>...};

using Choice = std::variant<std::monostate, std::int32_t, std::string, std::vector<std::optional<std::uint16_t>>>;
constexpr auto& readers =
    readers_of<bool, char, std::int8_t, std::uint64_t, double, std::complex<float>, std::string, std::vector<std::byte>,
               pickle::BigInt, std::vector<std::vector<bool>>, std::map<std::string, std::vector<std::int64_t>>,
               std::set<std::pair<int, std::string>>, std::optional<std::optional<int>>, Choice, Point, Record,
               std::tuple<Record, std::array<Point, 2>, std::monostate>, pickle::NdBuffer,
               std::vector<pickle::NdBuffer>, ByValue<bool>, ByValue<float>, Eigen::MatrixXd,
               Eigen::Matrix<std::complex<double>, 2, Eigen::Dynamic>, Eigen::RowVectorXf,
               std::tuple<pickle::DateTime, pickle::TimeDelta>, pickle::TimeZone,
               std::pair<std::string, pickle::Object>, std::tuple<pickle::Date, pickle::Time>,
               std::chrono::system_clock::time_point, std::chrono::duration<std::int16_t, std::milli>,
               std::chrono::year_month_day>;

}  // namespace
}  // namespace runrig

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  runrig::readers[data[0] % runrig::readers.size()](runrig::fuzz::bytes_of(data + 1, size - 1));
  return 0;
}
