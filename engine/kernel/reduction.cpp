#include "runrig/engine/reduction.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <utility>

#include "reduction_complex.hpp"
#include "reduction_loops.hpp"
#include "reduction_states.hpp"

namespace runrig {
namespace {

using detail::add_pairs;
using detail::add_planes;
using detail::divide;
using detail::get;
using detail::get_pair;
using detail::mean_square;
using detail::Pair;
using detail::put;
using detail::put_all;
using detail::ReductionRun;
using detail::ReductionStep;
using detail::settle;
using detail::square;
using detail::write_whole;

constexpr std::array<std::string_view, reduction_count> names{"sum", "prod",   "mean",   "var",   "std", "min",
                                                              "max", "argmin", "argmax", "count", "any", "all"};

ReductionStep step_of(Reduction operation, DType elements, bool skip) {
  const bool real = is_floating(elements) || is_complex(elements);
  const auto choose = [skip](ReductionStep plain, ReductionStep skipping) { return skip ? skipping : plain; };
  switch (operation) {
    case Reduction::sum:
      return real ? choose(ReductionStep::real_sum, ReductionStep::real_sum_skip) : ReductionStep::whole_sum;
    case Reduction::prod:
      return real ? choose(ReductionStep::real_prod, ReductionStep::real_prod_skip) : ReductionStep::whole_prod;
    case Reduction::mean:
      // Of small integers even 2^47 add up within 64 bits.
      if (!real && item_bytes(elements) <= 2) return ReductionStep::whole_sum;
      return choose(ReductionStep::real_sum, ReductionStep::counted_sum_skip);
    case Reduction::var:
    case Reduction::stddev:
      return choose(ReductionStep::spread, ReductionStep::spread_skip);
    case Reduction::min:
      return choose(ReductionStep::min, ReductionStep::min_skip);
    case Reduction::max:
      return choose(ReductionStep::max, ReductionStep::max_skip);
    case Reduction::argmin:
      return choose(ReductionStep::argmin, ReductionStep::argmin_skip);
    case Reduction::argmax:
      return choose(ReductionStep::argmax, ReductionStep::argmax_skip);
    case Reduction::count:
      return ReductionStep::count;
    case Reduction::any:
      return choose(ReductionStep::any, ReductionStep::any_skip);
    case Reduction::all:
      break;
  }
  return ReductionStep::all;
}

/// Calls `visit` with the type in which elements are compared.
template <class Visit>
void visit_wide(DType dtype, Visit visit) {
  if (is_floating(dtype)) {
    visit(double{});
  } else if (is_signed(dtype)) {
    visit(std::int64_t{});
  } else {
    visit(std::uint64_t{});
  }
}

/// An element as a double.
double as_double(DType dtype, const std::byte* element) noexcept {
  return visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
    if constexpr (std::is_same_v<T, bool>) {
      return *element != std::byte{0} ? 1.0 : 0.0;
    } else {
      T value;
      std::memcpy(&value, element, sizeof value);
      if constexpr (std::is_same_v<T, half>) {
        return static_cast<double>(static_cast<float>(value));
      } else {
        return static_cast<double>(value);
      }
    }
  });
}

/// Rounds once: a float that is odd where digits were lost rounds on as the double would.
half half_of(double value) noexcept {
  auto near = static_cast<float>(value);
  if (static_cast<double>(near) != value && std::isfinite(near)) {
    auto bits = std::bit_cast<std::uint32_t>(near);
    if (std::fabs(static_cast<double>(near)) > std::fabs(value)) --bits;
    near = std::bit_cast<float>(bits | 1U);
  }
  return half(near);
}

/// The mean square of the deviations from the mean, of `count` elements.
double variance(ReductionStates states, std::size_t i, double count) noexcept {
  const Pair sum = settle(get_pair(states, 1, i));
  return mean_square(settle(get_pair(states, 3, i)), square(sum), sum.high, count);
}

}  // namespace

void store_real(DType dtype, double value, std::byte* out) noexcept {
  if (dtype == DType::float64) {
    std::memcpy(out, &value, sizeof value);
  } else if (dtype == DType::float32) {
    const auto rounded = static_cast<float>(value);
    std::memcpy(out, &rounded, sizeof rounded);
  } else {
    const half rounded = half_of(value);
    std::memcpy(out, &rounded, sizeof rounded);
  }
}
std::string_view reduction_name(Reduction operation) noexcept { return names[static_cast<std::size_t>(operation)]; }

std::optional<Reduction> parse_reduction(std::string_view name) noexcept {
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) return std::nullopt;
  return static_cast<Reduction>(found - names.begin());
}

bool has_result_of_nothing(Reduction operation) noexcept {
  return operation < Reduction::min || operation > Reduction::argmax;
}

DType reduction_dtype(Reduction operation, DType elements) noexcept {
  switch (operation) {
    case Reduction::sum:
    case Reduction::prod:
      if (is_floating(elements) || is_complex(elements)) return elements;
      return is_signed(elements) || elements == DType::boolean ? DType::int64 : DType::uint64;
    case Reduction::mean:
      return is_floating(elements) || is_complex(elements) ? elements : DType::float64;
    case Reduction::var:
    case Reduction::stddev:
      return is_floating(part_dtype(elements)) ? part_dtype(elements) : DType::float64;
    case Reduction::min:
    case Reduction::max:
      return elements;
    case Reduction::argmin:
    case Reduction::argmax:
    case Reduction::count:
      return DType::int64;
    case Reduction::any:
    case Reduction::all:
      break;
  }
  return DType::boolean;
}

Reducer::Reducer(Reduction operation, DType elements, NanPolicy nan)
    : operation_(operation),
      elements_(elements),
      skip_(nan == NanPolicy::skip && (is_floating(elements) || is_complex(elements))) {
  const auto step = static_cast<std::size_t>(step_of(operation, elements, skip_));
  if (is_complex(elements)) {
    planes_ = detail::complex_reduction_planes[step];
    loop_ = detail::complex_reduction_loops(elements)[step];
    return;
  }
  planes_ = detail::reduction_planes[step];
  loop_ = detail::best_reduction_loops().loops[static_cast<std::size_t>(elements)][step];
}

void Reducer::begin(ReductionStates states, std::size_t n, const std::byte* first, std::size_t stride) const noexcept {
  for (std::size_t plane = 0; plane < planes_; ++plane) put_all(states, plane, n, std::uint64_t{0});
  if (is_complex(elements_)) return begin_complex(states, n, first, stride);
  switch (operation_) {
    case Reduction::prod:
      if (is_floating(elements_)) {
        put_all(states, 0, n, 1.0);
      } else {
        put_all(states, 0, n, std::uint64_t{1});
      }
      break;
    case Reduction::var:
    case Reduction::stddev:
      for (std::size_t i = 0; first != nullptr && i < n; ++i) {
        const double origin = as_double(elements_, first + i * stride * item_bytes(elements_));
        put(states, 0, i, std::isfinite(origin) ? origin : 0.0);
      }
      break;
    case Reduction::min:
    case Reduction::max:
      visit_wide(elements_, [&]<class W>(W) {
        using Limits = std::numeric_limits<W>;
        if constexpr (std::is_same_v<W, double>) {
          const double worst = operation_ == Reduction::min ? Limits::infinity() : -Limits::infinity();
          put_all(states, 0, n, skip_ ? Limits::quiet_NaN() : worst);
        } else {
          put_all(states, 0, n, operation_ == Reduction::min ? Limits::max() : Limits::min());
        }
      });
      break;
    case Reduction::argmin:
    case Reduction::argmax:
      put_all(states, 1, n, std::int64_t{-1});
      break;
    case Reduction::all:
      put_all(states, 0, n, std::uint64_t{1});
      break;
    case Reduction::sum:
    case Reduction::mean:
    case Reduction::count:
    case Reduction::any:
      break;
  }
}

void Reducer::begin_like(ReductionStates states, std::size_t n, ReductionStates of, std::size_t stride) const noexcept {
  begin(states, n, nullptr, 0);
  if (operation_ != Reduction::var && operation_ != Reduction::stddev) return;
  const std::size_t origins = is_complex(elements_) ? 2 : 1;
  for (std::size_t plane = 0; plane < origins; ++plane) {
    for (std::size_t i = 0; i < n; ++i) put(states, plane, i, get<double>(of, plane, i * stride));
  }
}

void Reducer::run(ReductionStates states, std::size_t n, const std::byte* data, std::uint64_t rows, std::size_t pitch,
                  std::uint64_t k, std::uint64_t k_row, std::uint64_t k_column) const noexcept {
  loop_(states.memory, states.pitch, ReductionRun{data, static_cast<std::size_t>(rows), n, pitch, k, k_row, k_column});
}

void Reducer::add_columns(ReductionStates states, std::size_t n, const std::byte* data, std::size_t rows,
                          std::size_t pitch, std::uint64_t k) const noexcept {
  run(states, n, data, rows, pitch, k, 1, 0);
}

void Reducer::add_row(ReductionStates lanes, const std::byte* data, std::uint64_t elements,
                      std::uint64_t k) const noexcept {
  const auto add = [&](std::size_t lane, std::uint64_t rows, std::size_t columns) {
    run(lanes.from(lane), columns, data, rows, reduction_lanes, k, reduction_lanes, 1);
    data += rows * columns * item_bytes(elements_);
    k += rows * columns;
    elements -= rows * columns;
  };
  if (const std::size_t lane = k % reduction_lanes; lane != 0) {
    add(lane, 1, static_cast<std::size_t>(std::min<std::uint64_t>(elements, reduction_lanes - lane)));
  }
  if (elements >= reduction_lanes) add(0, elements / reduction_lanes, reduction_lanes);
  if (elements > 0) add(0, 1, static_cast<std::size_t>(elements));
}

void Reducer::add_constant_row(ReductionStates lanes, const std::byte* element, std::uint64_t elements,
                               std::uint64_t k) const noexcept {
  const auto add = [&](std::size_t lane, std::uint64_t rows, std::size_t columns) {
    add_constants(lanes.from(lane), columns, element, rows, k, reduction_lanes, 1);
    k += rows * columns;
    elements -= rows * columns;
  };
  if (const std::size_t lane = k % reduction_lanes; lane != 0) {
    add(lane, 1, static_cast<std::size_t>(std::min<std::uint64_t>(elements, reduction_lanes - lane)));
  }
  if (elements >= reduction_lanes) add(0, elements / reduction_lanes, reduction_lanes);
  if (elements > 0) add(0, 1, static_cast<std::size_t>(elements));
}

void Reducer::add_constant(ReductionStates states, std::size_t n, const std::byte* element, std::uint64_t rows,
                           std::uint64_t k) const noexcept {
  add_constants(states, n, element, rows, k, 1, 0);
}

void Reducer::add_constants(ReductionStates states, std::size_t n, const std::byte* element, std::uint64_t rows,
                            std::uint64_t k, std::uint64_t k_row, std::uint64_t k_column) const noexcept {
  constexpr std::size_t width = 256;
  std::array<std::byte, width * 16> row;
  const std::size_t item = item_bytes(elements_);
  for (std::size_t i = 0; i < std::min(n, width); ++i) std::memcpy(row.data() + i * item, element, item);
  for (std::size_t first = 0; first < n; first += width) {
    const std::size_t columns = std::min(n - first, width);
    const std::uint64_t at = k + first * k_column;
    if (rows > 1 && add_at_once(states.from(first), columns, row.data(), rows, at, k_row, k_column)) continue;
    run(states.from(first), columns, row.data(), rows, 0, at, k_row, k_column);
  }
}

bool Reducer::add_at_once(ReductionStates states, std::size_t n, const std::byte* element, std::uint64_t rows,
                          std::uint64_t k, std::uint64_t k_row, std::uint64_t k_column) const noexcept {
  const auto once = [&] {
    run(states, n, element, 1, 0, k, k_row, k_column);
    return true;
  };
  if (is_complex(elements_)) return complex_is_once(states, n, element, rows) && once();
  const double value = as_double(elements_, element);
  switch (operation_) {
    case Reduction::min:
    case Reduction::max:
    case Reduction::argmin:
    case Reduction::argmax:
    case Reduction::any:
    case Reduction::all:
      return once();
    case Reduction::count:
      for (std::size_t i = 0; value == value && i < n; ++i) put(states, 0, i, get<std::uint64_t>(states, 0, i) + rows);
      return true;
    case Reduction::sum:
    case Reduction::mean:
      if (planes_ == 1) {
        std::uint64_t whole = 0;  // the element, sign-extended
        std::array<std::byte, 8> zero{};
        run({zero.data(), 1}, 1, element, 1, 0, 0, 0, 0);
        std::memcpy(&whole, zero.data(), sizeof whole);
        for (std::size_t i = 0; i < n; ++i) put(states, 0, i, get<std::uint64_t>(states, 0, i) + whole * rows);
        return true;
      }
      if (value != 0 && !std::isnan(value)) return false;
      for (std::size_t i = 0; planes_ == 3 && value == value && i < n; ++i) {
        put(states, 2, i, get<double>(states, 2, i) + static_cast<double>(rows - 1));
      }
      return once();
    case Reduction::prod:
      return value == 0 || value == 1 || std::isnan(value) ? once() : false;
    case Reduction::var:
    case Reduction::stddev:
      for (std::size_t i = 0; value == value && i < n; ++i) {
        if (get<double>(states, 0, i) != value) return false;
      }
      for (std::size_t i = 0; planes_ == 6 && value == value && i < n; ++i) {
        put(states, 5, i, get<double>(states, 5, i) + static_cast<double>(rows - 1));
      }
      return once();
  }
  return false;
}

void Reducer::fold(ReductionStates lanes) const noexcept {
  for (std::size_t half = reduction_lanes / 2; half > 0; half /= 2) join(lanes, lanes.from(half), half);
}

void Reducer::join(ReductionStates states, ReductionStates next, std::size_t n) const noexcept {
  if (is_complex(elements_)) return join_complex(states, next, n);
  const bool real = is_floating(elements_);
  for (std::size_t i = 0; i < n; ++i) {
    switch (operation_) {
      case Reduction::sum:
      case Reduction::mean:
        if (planes_ == 1) {
          add_planes<std::uint64_t>(states, next, 0, i);
        } else {
          add_pairs(states, next, 0, i);
          if (planes_ == 3) add_planes<double>(states, next, 2, i);
        }
        break;
      case Reduction::prod:
        if (real) {
          put(states, 0, i, get<double>(states, 0, i) * get<double>(next, 0, i));
        } else {
          put(states, 0, i, get<std::uint64_t>(states, 0, i) * get<std::uint64_t>(next, 0, i));
        }
        break;
      case Reduction::var:
      case Reduction::stddev:
        add_pairs(states, next, 1, i);
        add_pairs(states, next, 3, i);
        if (planes_ == 6) add_planes<double>(states, next, 5, i);
        break;
      case Reduction::min:
      case Reduction::max:
        visit_wide(elements_, [&]<class W>(W) {
          const W a = get<W>(states, 0, i);
          const W b = get<W>(next, 0, i);
          const W nan = skip_ ? a : b;
          if ((operation_ == Reduction::min ? b < a : b > a) || nan != nan) put(states, 0, i, b);
        });
        break;
      case Reduction::argmin:
      case Reduction::argmax:
        join_places(states, next, i);
        break;
      case Reduction::count:
        add_planes<std::uint64_t>(states, next, 0, i);
        break;
      case Reduction::any:
        put(states, 0, i, get<std::uint64_t>(states, 0, i) | get<std::uint64_t>(next, 0, i));
        break;
      case Reduction::all:
        put(states, 0, i, get<std::uint64_t>(states, 0, i) & get<std::uint64_t>(next, 0, i));
        break;
    }
  }
}

void Reducer::join_places(ReductionStates states, ReductionStates next, std::size_t i) const noexcept {
  const auto place = get<std::int64_t>(states, 1, i);
  const auto next_place = get<std::int64_t>(next, 1, i);
  if (next_place < 0) return;
  visit_wide(elements_, [&]<class W>(W) {
    const W a = get<W>(states, 0, i);
    const W b = get<W>(next, 0, i);
    const bool a_nan = a != a;
    const bool b_nan = b != b;
    // Lanes are folded as well: what comes next may lie before.
    const bool equal = a == b || (a_nan && b_nan);
    const bool better = !a_nan && (b_nan || (operation_ == Reduction::argmin ? b < a : b > a));
    if (place >= 0 && !better && !(equal && next_place < place)) return;
    put(states, 0, i, b);
    put(states, 1, i, next_place);
  });
}

bool Reducer::finish(ReductionStates states, std::size_t n, std::uint64_t length, std::byte* out) const noexcept {
  if (is_complex(elements_)) return finish_complex(states, n, length, out);
  const DType dtype = result();
  const std::size_t item = item_bytes(dtype);
  bool all_found = true;
  for (std::size_t i = 0; i < n; ++i, out += item) {
    switch (operation_) {
      case Reduction::sum:
        if (planes_ == 1) {
          write_whole(dtype, get<std::uint64_t>(states, 0, i), out);
        } else {
          store_real(dtype, settle(get_pair(states, 0, i)).high, out);
        }
        break;
      case Reduction::mean:
        store_real(dtype, mean(states, i, length), out);
        break;
      case Reduction::var:
      case Reduction::stddev: {
        const double count = planes_ == 6 ? get<double>(states, 5, i) : static_cast<double>(length);
        const double var = variance(states, i, count);
        store_real(dtype, operation_ == Reduction::var ? var : std::sqrt(var), out);
        break;
      }
      case Reduction::prod:
      case Reduction::min:
      case Reduction::max:
        if (is_floating(elements_)) {
          store_real(dtype, get<double>(states, 0, i), out);
        } else {
          write_whole(dtype, get<std::uint64_t>(states, 0, i), out);
        }
        break;
      case Reduction::argmin:
      case Reduction::argmax:
        all_found = all_found && get<std::int64_t>(states, 1, i) >= 0;
        write_whole(dtype, get<std::uint64_t>(states, 1, i), out);
        break;
      case Reduction::count:
      case Reduction::any:
      case Reduction::all:
        write_whole(dtype, get<std::uint64_t>(states, 0, i), out);
        break;
    }
  }
  return all_found;
}

double Reducer::mean(ReductionStates states, std::size_t i, std::uint64_t length) const noexcept {
  const double count = planes_ == 3 ? get<double>(states, 2, i) : static_cast<double>(length);
  if (count == 0) return std::numeric_limits<double>::quiet_NaN();
  if (planes_ == 1) {
    const auto sum = get<std::uint64_t>(states, 0, i);
    return (is_signed(elements_) ? static_cast<double>(static_cast<std::int64_t>(sum)) : static_cast<double>(sum)) /
           count;
  }
  const Pair quotient = divide(settle(get_pair(states, 0, i)), count);
  return quotient.high + quotient.low;
}

}  // namespace runrig
