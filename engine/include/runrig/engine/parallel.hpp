#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <stdexcept>
#include <stop_token>
#include <tuple>
#include <type_traits>
#include <utility>

#include "runrig/engine/parallel_detail.hpp"
#include "runrig/engine/plain_bytes.hpp"
#include "runrig/engine/pool.hpp"
#include "runrig/engine/threads.hpp"
#include "runrig/shm/nd_array.hpp"

/// Kernels on slices of arrays, in the workers of a Pool or on Threads, with the same bits.
///
///     runrig::parallel_for(pool, array, [](auto part) { part = part.sqrt(); });
///     runrig::parallel_transform(pool, speed, [](auto out, auto u, auto v) { out = (u * u + v * v).sqrt(); }, u, v);
///     const double total = runrig::parallel_reduce(pool, array, 0.0, std::plus<>{});
///
/// A kernel sees the same slice of each array as an Eigen::Map of a one-dimensional Array, unaligned, const where it
/// may only read; if it takes one argument more, that is the slice's SliceRange. Arrays are NdArray or NdView, all of
/// one shape and without gaps; on a Pool they lie in a segment or in the pool's arena. The slices depend on the shape,
/// the element types and ParallelOptions::slice_elements, not on who runs them, and reductions add in a fixed order, so
/// the result does not depend on the number of workers, on the executor, or on deaths.
///
/// A call returns when all is done, and throws
///   - what a kernel threw: from Threads as it is, from a Pool as RemoteError, which names slice, elements and worker;
///   - SliceLost if a worker died in a slice that may not be run twice: it names exactly the elements that may be
///     half-written, all others are done;
///   - WorkerLost if a slice killed its workers again and again, or was over a limit;
///   - Cancelled if a stop was requested in time; elements are then written or not;
///   - logic_error for arrays that do not fit together, for captures that workers cannot have (see Pool::launch), and
///     in a worker: calls do not nest there.
namespace runrig {

/// Elements of a slice, in storage order: [begin, end).
struct SliceRange {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

struct ParallelOptions {
  /// Ends the call early, from any thread.
  std::stop_token stop{};
  /// Whether a kernel that changes its own input may be run again on a slice in which a worker died, because it gives
  /// the same then (part = 0). Kernels that only write what they do not read always may.
  bool repeatable = false;
  /// How many workers a slice may kill.
  int max_kills = 2;
  /// Elements per slice; 0: chosen by shape and type. Few, for kernels that take long for each element.
  std::uint64_t slice_elements = 0;
  /// For each slice, on a Pool only; 0 for none. See LaunchOptions.
  std::chrono::nanoseconds cpu_limit{0};
  std::chrono::nanoseconds wall_limit{0};
};

/// What a kernel is given.
template <Element T>
using SliceMap =
    std::conditional_t<std::is_const_v<T>, Eigen::Map<const Eigen::Array<std::remove_const_t<T>, Eigen::Dynamic, 1>>,
                       Eigen::Map<Eigen::Array<T, Eigen::Dynamic, 1>>>;

namespace detail {

template <Element T>
NdView<T> view_of(NdArray<T>& array) {
  return array.view();
}
template <Element T>
NdView<const T> view_of(const NdArray<T>& array) {
  return array.cview();
}
template <Element T>
NdView<T> view_of(const NdView<T>& view) {
  return view;
}
template <class Array>
auto const_view_of(const Array& array) {
  const auto view = view_of(array);
  return NdView<const typename decltype(view)::value_type>(view);
}

template <class Executor>
concept AnyExecutor = std::is_same_v<Executor, Pool> || std::is_same_v<Executor, Threads>;

/// The user's body with all that a slice of it needs: what travels to the workers. `Ts` are the arrays' elements.
template <class Body, class... Ts>
struct MapKernel {
  using Data = std::array<std::byte*, sizeof...(Ts)>;
  Body body;
  SlicePlan plan;
  std::array<FlatArray, sizeof...(Ts)> arrays;

  void operator()(SliceContext& context) const {
    Data data;
    for (std::size_t i = 0; i < data.size(); ++i) data[i] = locate(context, arrays[i]);
    run(context.slice(), data, std::index_sequence_for<Ts...>{});
  }
  static void on_thread(const void* kernel, std::uint32_t slice) {
    const auto& self = *static_cast<const MapKernel*>(kernel);
    Data data;
    for (std::size_t i = 0; i < data.size(); ++i) data[i] = self.arrays[i].direct;
    self.run(slice, data, std::index_sequence_for<Ts...>{});
  }
  template <std::size_t... i>
  void run(std::uint32_t slice, const Data& data, std::index_sequence<i...>) const {
    const std::uint64_t begin = plan.begin(slice);
    const std::uint64_t end = plan.end(slice);
    const auto count = static_cast<Eigen::Index>(end - begin);
    if constexpr (std::is_invocable_v<const Body&, SliceMap<Ts>...>) {
      body(SliceMap<Ts>(reinterpret_cast<Ts*>(data[i]) + begin, count)...);
    } else {
      static_assert(std::is_invocable_v<const Body&, SliceMap<Ts>..., SliceRange>,
                    "a kernel takes one slice for each array (by value or const&), then perhaps a SliceRange, and is "
                    "not 'mutable'");
      body(SliceMap<Ts>(reinterpret_cast<Ts*>(data[i]) + begin, count)..., SliceRange{begin, end});
    }
  }
};

/// Runs a kernel's slices in a pool. `checked` is what the user captured.
template <class Kernel, class Checked>
void run_kernel(Pool& pool, const Kernel& kernel, const Checked& checked, const SlicePlan& plan,
                const ParallelOptions& options, Rerun rerun) {
  static_assert(
      std::is_trivially_copyable_v<Checked>,
      "a kernel's captures travel to the workers as bytes: capture numbers by value, pass arrays as arguments");
  check_captures(pool, PlainBytes<Checked>(checked).data(), sizeof checked);
  LaunchOptions launch_options;
  launch_options.slices = plan.slices;
  launch_options.trust_captures = true;  // they were checked, without what is ours
  launch_options.cpu_limit = options.cpu_limit;
  launch_options.wall_limit = options.wall_limit;
  launch_options.max_kills = rerun == Rerun::allowed ? options.max_kills : 1;
  // In place, all that can be done is done, so that what is lost can be named exactly.
  launch_options.keep_going = rerun == Rerun::forbidden;
  Launch launch = pool.launch(launch_options, kernel);
  finish_launch(launch, plan, rerun, options.stop);
}

template <class Kernel, class Checked>
void run_kernel(Threads& threads, const Kernel& kernel, const Checked& /*checked*/, const SlicePlan& plan,
                const ParallelOptions& options, Rerun /*rerun*/) {
  threads.run(plan.slices, &Kernel::on_thread, &kernel, options.stop);
}

template <AnyExecutor Executor, class Body, Element... Ts>
void run_map(Executor& executor, const Body& body, const ParallelOptions& options, Writing writing,
             const NdView<Ts>&... views) {
  const std::array<AnyArrayRef, sizeof...(Ts)> refs{views.ref()...};
  const SlicePlan plan = plan_slices(refs, options.slice_elements);
  if (plan.slices == 0) return;
  const bool repeatable = options.repeatable || !reads_what_it_writes(refs, writing);
  const MapKernel<Body, Ts...> kernel{body, plan, {flatten(executor, views.ref())...}};
  run_kernel(executor, kernel, body, plan, options, repeatable ? Rerun::allowed : Rerun::forbidden);
}

template <class T>
struct IsTuple : std::false_type {};
template <class... Ts>
struct IsTuple<std::tuple<Ts...>> : std::true_type {};

/// Lanes of our own: independent sums that the compiler can keep in vectors, in an order that it cannot change.
inline constexpr std::size_t reduction_lanes = 16;

/// op over transform(x[0]) .. transform(x[count - 1]), count > 0, in an order that depends on `count` only.
template <class Result, class T, class Op, class Transform>
Result reduce_lanes(const T* x, std::uint64_t count, const Op& op, const Transform& transform) {
  const auto value = [&](std::uint64_t i) { return static_cast<Result>(transform(x[i])); };
  const std::uint64_t filled = std::min<std::uint64_t>(count, reduction_lanes);
  std::array<Result, reduction_lanes> lanes{};
  for (std::uint64_t j = 0; j < filled; ++j) lanes[j] = value(j);
  std::uint64_t i = reduction_lanes;
  for (; i + reduction_lanes <= count; i += reduction_lanes) {
    for (std::uint64_t j = 0; j < reduction_lanes; ++j) lanes[j] = static_cast<Result>(op(lanes[j], value(i + j)));
  }
  for (std::uint64_t j = 0; i + j < count; ++j) lanes[j] = static_cast<Result>(op(lanes[j], value(i + j)));
  for (std::uint64_t width = std::bit_ceil(filled) / 2; width > 0; width /= 2) {
    for (std::uint64_t j = 0; j < width && j + width < filled; ++j) {
      lanes[j] = static_cast<Result>(op(lanes[j], lanes[j + width]));
    }
  }
  return lanes[0];
}

/// The partial results of the slices, as a balanced tree whose form depends on their number only.
template <class Result, class Op>
Result reduce_tree(const Result* partial, std::uint64_t count, const Op& op) {
  if (count == 1) return partial[0];
  const std::uint64_t half = std::bit_ceil(count) / 2;
  return static_cast<Result>(op(reduce_tree(partial, half, op), reduce_tree(partial + half, count - half, op)));
}

template <class Result, class T, class Op, class Transform>
struct ReduceKernel {
  struct Functions {
    Op op;
    Transform transform;
  };
  Functions functions;
  SlicePlan plan;
  FlatArray array;
  Result* partial;  // one for each slice; running a slice again writes the same

  void operator()(SliceContext& context) const { run(context.slice(), locate(context, array)); }
  static void on_thread(const void* kernel, std::uint32_t slice) {
    const auto& self = *static_cast<const ReduceKernel*>(kernel);
    self.run(slice, self.array.direct);
  }
  void run(std::uint32_t slice, const std::byte* data) const {
    const std::uint64_t begin = plan.begin(slice);
    partial[slice] = reduce_lanes<Result>(reinterpret_cast<const T*>(data) + begin, plan.end(slice) - begin,
                                          functions.op, functions.transform);
  }
};

/// Memory for one result per slice, where the executor's bodies can write it; owned by the pool or by this object.
template <class Result>
class Partials {
 public:
  Partials(Pool& pool, std::uint32_t slices)
      : data_(reinterpret_cast<Result*>(partial_memory(pool, sizeof(Result) * slices))) {}
  Partials(Threads& /*threads*/, std::uint32_t slices)
      : owned_(std::make_unique<Result[]>(slices)), data_(owned_.get()) {}
  [[nodiscard]] Result* data() const { return data_; }

 private:
  std::unique_ptr<Result[]> owned_;
  Result* data_;
};

}  // namespace detail

/// Calls `body(slice)` for each slice of `array`, which it may change in place: an NdArray, an NdView, or several of
/// them as std::tie(a, b), of which const ones are only read.
template <detail::AnyExecutor Executor, class Arrays, class Body>
void parallel_for(Executor& executor, Arrays&& arrays, const Body& body, const ParallelOptions& options = {}) {
  if constexpr (detail::IsTuple<std::remove_cvref_t<Arrays>>::value) {
    std::apply(
        [&](auto&&... each) {
          detail::run_map(executor, body, options, detail::Writing::in_place, detail::view_of(each)...);
        },
        arrays);
  } else {
    detail::run_map(executor, body, options, detail::Writing::in_place, detail::view_of(arrays));
  }
}

/// Calls `body(out slice, in slices...)`, which writes all of its slice of `out` from those of `in`, which are only
/// read. Where `out` and an input are the same memory it is a kernel in place, as in parallel_for.
template <detail::AnyExecutor Executor, class Out, class Body, class... In>
void parallel_transform(Executor& executor, const ParallelOptions& options, Out&& out, const Body& body,
                        const In&... in) {
  detail::run_map(executor, body, options, detail::Writing::output, detail::view_of(out), detail::const_view_of(in)...);
}
template <detail::AnyExecutor Executor, class Out, class Body, class... In>
requires(!std::is_same_v<std::remove_cvref_t<Out>, ParallelOptions>) void parallel_transform(Executor& executor,
                                                                                             Out&& out,
                                                                                             const Body& body,
                                                                                             const In&... in) {
  parallel_transform(executor, ParallelOptions{}, out, body, in...);
}

/// op(init, all transform(element)), for an `op` that is associative and commutative as far as the caller cares: the
/// order is ours, and always the same. Computed in the type of `init`, which is trivially copyable. `init` alone if
/// there are no elements.
template <detail::AnyExecutor Executor, class Array, class Result, class Op = std::plus<>,
          class Transform = std::identity>
[[nodiscard]] Result parallel_reduce(Executor& executor, const Array& array, Result init, const Op& op = {},
                                     const Transform& transform = {}, const ParallelOptions& options = {}) {
  static_assert(std::is_trivially_copyable_v<Result> && std::is_default_constructible_v<Result>,
                "partial results lie in shared memory: the type of init must be trivially copyable");
  const auto view = detail::const_view_of(array);
  using T = typename std::remove_cvref_t<decltype(view)>::value_type;
  const std::array<AnyArrayRef, 1> refs{view.ref()};
  const SlicePlan plan = detail::plan_slices(refs, options.slice_elements);
  if (plan.slices == 0) return init;
  const detail::Partials<Result> partials(executor, plan.slices);
  using Kernel = detail::ReduceKernel<Result, T, Op, Transform>;
  const Kernel kernel{{op, transform}, plan, detail::flatten(executor, view.ref()), partials.data()};
  detail::run_kernel(executor, kernel, kernel.functions, plan, options, detail::Rerun::allowed);
  return static_cast<Result>(op(init, detail::reduce_tree(partials.data(), plan.slices, op)));
}

/// The type in which elements are summed: double for floating types; 64-bit integers, wrapping, for the others, as
/// NumPy does (bool counts).
template <Element T>
requires(!is_complex(dtype_of<T>)) using SumOf = std::conditional_t<
    is_floating(dtype_of<T>), double,
    std::conditional_t<is_signed(dtype_of<T>) || dtype_of<T> == DType::boolean, std::int64_t, std::uint64_t>>;

namespace detail {

template <class Sum>
struct WrappingPlus {
  Sum operator()(Sum a, Sum b) const {
    if constexpr (std::is_integral_v<Sum>) {
      using Unsigned = std::make_unsigned_t<Sum>;
      return static_cast<Sum>(static_cast<Unsigned>(a) + static_cast<Unsigned>(b));  // wraps; signed would be undefined
    } else {
      return a + b;
    }
  }
};
/// half has no arithmetic of its own.
struct ToNumber {
  template <class T>
  auto operator()(T value) const {
    if constexpr (std::is_same_v<T, half>) {
      return static_cast<float>(value);
    } else {
      return value;
    }
  }
};
/// The smaller, or with `greater` the larger; NaN if either is, as NumPy has it.
template <bool greater>
struct Extreme {
  template <class T>
  T operator()(T a, T b) const {
    return (greater ? a > b : a < b) || a != a ? a : b;  // NOLINT(misc-redundant-expression): NaN is not itself
  }
};

template <bool greater, AnyExecutor Executor, class Array>
auto extreme(Executor& executor, const Array& array, const ParallelOptions& options) {
  using T = typename decltype(const_view_of(array))::value_type;
  using Number = std::invoke_result_t<ToNumber, T>;
  if (const_view_of(array).empty()) throw std::logic_error("the extreme value of an array without elements");
  // The first element as the start: it is in the array, so counting it twice changes nothing.
  const Number first = ToNumber{}(*const_view_of(array).data());
  return static_cast<T>(parallel_reduce(executor, array, first, Extreme<greater>{}, ToNumber{}, options));
}

}  // namespace detail

/// The sum of all elements; 0 if there are none.
template <detail::AnyExecutor Executor, class Array>
[[nodiscard]] auto sum(Executor& executor, const Array& array, const ParallelOptions& options = {}) {
  using Sum = SumOf<typename decltype(detail::const_view_of(array))::value_type>;
  return parallel_reduce(executor, array, Sum{0}, detail::WrappingPlus<Sum>{}, detail::ToNumber{}, options);
}
/// In double; NaN if there are no elements. The sum is exact for integers of up to 32 bits, and in double for the rest.
template <detail::AnyExecutor Executor, class Array>
[[nodiscard]] double mean(Executor& executor, const Array& array, const ParallelOptions& options = {}) {
  using T = typename decltype(detail::const_view_of(array))::value_type;
  const std::uint64_t count = detail::const_view_of(array).size();
  if (count == 0) return std::numeric_limits<double>::quiet_NaN();
  double total = 0;
  if constexpr (std::is_integral_v<T> && sizeof(T) == sizeof(std::int64_t)) {
    total = parallel_reduce(executor, array, 0.0, std::plus<>{}, detail::ToNumber{}, options);
  } else {
    total = static_cast<double>(sum(executor, array, options));
  }
  return total / static_cast<double>(count);
}
/// NaN if any element is. Throw logic_error for an array without elements.
template <detail::AnyExecutor Executor, class Array>
[[nodiscard]] auto min(Executor& executor, const Array& array, const ParallelOptions& options = {}) {
  return detail::extreme<false>(executor, array, options);
}
template <detail::AnyExecutor Executor, class Array>
[[nodiscard]] auto max(Executor& executor, const Array& array, const ParallelOptions& options = {}) {
  return detail::extreme<true>(executor, array, options);
}

}  // namespace runrig
