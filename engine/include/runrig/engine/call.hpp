#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "runrig/channel/transfer.hpp"
#include "runrig/engine/code.hpp"
#include "runrig/engine/plain_bytes.hpp"
#include "runrig/sync/error.hpp"
#include "runrig/sync/unique_fd.hpp"

/// Calls that cross to another process of the same program: code by name, captures as bytes, arguments as a pickle.
namespace runrig::detail {

/// What a trampoline is called with, in the process that runs the call.
struct InvokeInput {
  std::span<const std::byte> closure;  ///< the callable's bytes; empty for a function pointer and for no captures
  std::uintptr_t function = 0;         ///< for a function pointer: its address in this process
  std::span<const std::byte> arguments;
  bool result_wanted = true;
  std::span<UniqueFd> descriptors{};  ///< those of connections among the arguments; closed once these have theirs
};

/// Decodes the arguments, calls, and appends one pickle of the result (None for void) to `result`, if it is wanted;
/// what is not wanted is not even encoded, so that a new process which is all one call does little else. What the
/// callable throws comes out, as does FormatError for bytes that are not what they should be; `result` then holds no
/// part of a pickle.
using Invoke = void (*)(const InvokeInput& input, std::vector<std::byte>& result);

/// The code for calls of one kind of callable with arguments of given types.
class Trampoline : public CodeEntry {
 public:
  explicit constexpr Trampoline(Invoke function) noexcept : CodeEntry(CodeKind::call), invoke(function) {}
  const Invoke invoke;
};

/// The trampoline that `code` names. Throws FormatError: see find_code().
[[nodiscard]] inline const Trampoline& resolve(const CodeRef& code) {
  return static_cast<const Trampoline&>(find_code(code, CodeKind::call));
}

template <class F>
inline constexpr bool is_function_pointer = std::is_pointer_v<F>&& std::is_function_v<std::remove_pointer_t<F>>;
/// Whether the bytes of an F are part of a call. A function pointer goes by name, and what is empty has no bytes.
template <class F>
inline constexpr bool has_closure = !is_function_pointer<F> && !std::is_empty_v<F>;

/// What a pickle of None is, in protocol 5: the result of a function that returns nothing.
inline constexpr std::array<std::byte, 4> none_pickle = {std::byte{0x80}, std::byte{5}, std::byte{'N'}, std::byte{'.'}};

inline constexpr std::array<std::byte, 4> no_arguments_pickle = {std::byte{0x80}, std::byte{5}, std::byte{')'},
                                                                 std::byte{'.'}};

/// What `f(args...)` gives in the process that runs it.
template <class F, class... Args>
using CallResult = std::remove_cvref_t<std::invoke_result_t<F&, Received<Args>...>>;

/// Fails to compile, in words, where a call cannot cross.
template <class F, class... Args>
constexpr void check_can_cross() {
  static_assert(std::is_same_v<F, std::decay_t<F>> && (std::is_same_v<Args, std::decay_t<Args>> && ...));
  static_assert(!std::is_member_pointer_v<F>,
                "a pointer to a member cannot be sent to another process: pass a lambda that calls the member");
  static_assert(std::is_trivially_copyable_v<F>,
                "what a lambda or functor captures travels to other processes as bytes: capture numbers by value; pass "
                "strings, vectors and handles as arguments of the call instead");
  (require_transferable<Args>(), ...);
  if constexpr ((Transferable<Args> && ...)) {
    static_assert(std::is_invocable_v<F&, Received<Args>...>,
                  "the callable cannot be called with these arguments as the other process receives them: each arrives "
                  "as a temporary of its own (a text as std::string, a view of an array as NdArray), so take it by "
                  "value or by const reference");
    if constexpr (std::is_invocable_v<F&, Received<Args>...>) {
      if constexpr (!std::is_void_v<CallResult<F, Args...>>) require_transferable<CallResult<F, Args...>>();
    }
  }
}

template <class F>
F callable_from(const InvokeInput& input) {
  if constexpr (is_function_pointer<F>) {
    if (input.function == 0) throw FormatError("call for another process", "function", "it has no name");
    return reinterpret_cast<F>(input.function);
  } else {
    // Of an empty callable there is nothing to copy, but std::bit_cast wants its one byte.
    std::array<std::byte, sizeof(F)> bytes{};
    const std::size_t expected = has_closure<F> ? sizeof(F) : 0;
    if (input.closure.size() != expected) {
      throw FormatError(
          "call for another process", "captures",
          "they have " + std::to_string(input.closure.size()) + " bytes instead of " + std::to_string(expected));
    }
    std::copy(input.closure.begin(), input.closure.end(), bytes.begin());
    return std::bit_cast<F>(bytes);
  }
}

template <class... Args>
auto arguments_from(const InvokeInput& input) {
  if constexpr (sizeof...(Args) == 0) {
    // Compared with what they are rather than decoded: a few instructions, and of many new processes all there is.
    if (input.arguments.size() == no_arguments_pickle.size() &&
        std::equal(no_arguments_pickle.begin(), no_arguments_pickle.end(), input.arguments.begin())) {
      return std::tuple<>();
    }
  }
  return pickle::decode_tuple<Args...>(input.arguments, {}, input.descriptors);
}

template <class F, class... Args>
void invoke_call(const InvokeInput& input, std::vector<std::byte>& result) {
  F callable = callable_from<F>(input);
  auto arguments = arguments_from<Args...>(input);
  // Who closes a connection in the call has closed it in this process.
  for (UniqueFd& each : input.descriptors) each.reset();
  const auto call = [&](auto&&... each) -> decltype(auto) {
    return std::invoke(callable, std::forward<decltype(each)>(each)...);
  };
  if (!input.result_wanted) {
    (void)std::apply(call, std::move(arguments));
  } else if constexpr (std::is_void_v<CallResult<F, Args...>>) {
    std::apply(call, std::move(arguments));
    result.insert(result.end(), none_pickle.begin(), none_pickle.end());
  } else {
    pickle::encode<CallResult<F, Args...>>(result, std::apply(call, std::move(arguments)));
  }
}

template <class F, class... Args>
struct TrampolineOf {
  static constinit inline Trampoline trampoline{&invoke_call<F, Args...>};
  static inline const CodeRegistration registration{trampoline};
};

/// The trampoline for a callable of type F (a function pointer, or a trivially copyable lambda or functor) with
/// arguments of these types, all decayed. Whoever mentions it has it in the table of its module.
template <class F, class... Args>
[[nodiscard]] const Trampoline& trampoline_for() noexcept {
  check_can_cross<F, Args...>();
  (void)&TrampolineOf<F, Args...>::registration;  // odr-used, so that the module has it
  return TrampolineOf<F, Args...>::trampoline;
}

/// The bytes of a callable that travel with its call.
template <class F>
class ClosureBytes {
 public:
  explicit ClosureBytes(const F& callable) noexcept : bytes_(callable) {}
  [[nodiscard]] std::span<const std::byte> get() const noexcept {
    return has_closure<F> ? bytes_.get() : std::span<const std::byte>();
  }

 private:
  PlainBytes<F> bytes_;
};

/// The address of a function pointer; 0 for any other callable. Throws std::logic_error for a null pointer.
template <class F>
[[nodiscard]] std::uintptr_t function_address(F callable) {
  if constexpr (is_function_pointer<F>) {
    if (callable == nullptr) throw std::logic_error("call in another process: the function pointer is null");
    return reinterpret_cast<std::uintptr_t>(callable);
  } else {
    return 0;
  }
}

/// A call as it crosses. Only for bytes from a parent or child of the same program.
struct CallWire {
  CodeRef code;
  CodeRef function;  ///< names nothing unless the callable is a function pointer
  std::vector<std::byte> closure;
  std::vector<std::byte> arguments;

  /// Appends one pickle: a tuple of these, with names of code as (bytes, int).
  void write(std::vector<std::byte>& out) const;
  /// Throws FormatError for anything else.
  [[nodiscard]] static CallWire read(std::span<const std::byte> bytes);
  /// Finds the code in this process and calls it; see Invoke.
  void invoke(std::vector<std::byte>& result) const;
  /// The same for a call whose result nobody waits for. `descriptors` are those of Call::descriptors(), in their order.
  void run(std::span<UniqueFd> descriptors = {}) const;
};

/// How the memory of the process that will run a call relates to this one's.
enum class AddressLayout {
  forked,  ///< a copy made by fork, now: code and constants are where they are here
  foreign  ///< a process of its own, by spawn or forkserver
};

/// A callable with its arguments, ready to run in another process. Cheap to copy; never changes.
///
/// Holds on to callable and arguments, and so to what handles among them refer to; connections until they are given
/// away. The arguments are encoded when the call is made: what cannot be encoded is an error then.
class Call {
 public:
  /// Nothing to call; run_here() does nothing.
  Call() noexcept = default;
  /// Copies `callable` and `args`; text of other owners (const char*, std::string_view) is copied, too.
  template <class F, class... Args>
  [[nodiscard]] static Call make(F callable, Args... args);
  /// Any callable without arguments, for children that are forked, which have it as a copy.
  template <class F>
  [[nodiscard]] static Call fork_only(F callable);

  [[nodiscard]] explicit operator bool() const noexcept { return state_ != nullptr; }
  [[nodiscard]] bool is_fork_only() const noexcept { return state_ && state_->trampoline == nullptr; }

  /// Calls in this process: for a forked child, once. A call that could cross gets its arguments as it would there.
  void run_here() const;
  /// Those of connections among the arguments, which must go along with wire().
  [[nodiscard]] std::vector<int> descriptors() const;
  /// Closes them here: the new process has its own.
  void give_descriptors_away() const noexcept;
  /// Throws std::logic_error, in words, if this is fork_only(), or there is nothing to call.
  [[nodiscard]] CallWire wire() const;
  /// Throws std::logic_error, in words, if a capture looks like a pointer or reference to what a process of that layout
  /// does not have (see CaptureCheck), or if this is fork_only() and the layout foreign. `what` begins the sentence
  /// ("start process 'Process-1'"). `shared` tells which memory it has nevertheless, at the same address.
  void check(AddressLayout layout, const char* what, const std::function<bool(const void* address)>& shared = {}) const;

 private:
  struct State {
    State() = default;
    State(const State&) = delete;
    State& operator=(const State&) = delete;
    virtual ~State() = default;
    /// For fork_only().
    virtual void run() const = 0;
    const Trampoline* trampoline = nullptr;
    std::uintptr_t function = 0;
    std::span<const std::byte> closure;
    std::vector<std::byte> arguments;
    pickle::Descriptors descriptors;
  };
  template <class F, class... Args>
  struct Crossing;
  template <class F>
  struct Local;
  explicit Call(std::shared_ptr<const State> state) noexcept : state_(std::move(state)) {}
  std::shared_ptr<const State> state_;
};

template <class F, class... Args>
struct Call::Crossing final : State {
  Crossing(F&& f, Args&&... args) : callable(std::move(f)), bytes(callable), kept(std::move(args)...) {
    // NOLINTBEGIN(cppcoreguidelines-prefer-member-initializer): they are the base's.
    trampoline = &trampoline_for<F, Args...>();
    function = function_address(callable);
    closure = bytes.get();
    // NOLINTEND(cppcoreguidelines-prefer-member-initializer)
    std::apply(
        [this](const Args&... each) { pickle::encode_tuple_carrying<Args...>(arguments, &descriptors, each...); },
        kept);
  }
  void run() const override {}
  const F callable;
  const ClosureBytes<F> bytes;
  const std::tuple<Args...> kept;
};

template <class F>
struct Call::Local final : State {
  explicit Local(F&& f) : callable(std::move(f)) {}
  void run() const override { std::invoke(callable); }
  mutable F callable;  // runs once, in a child
};

template <class F, class... Args>
Call Call::make(F callable, Args... args) {
  check_can_cross<F, Args...>();
  return Call(std::make_shared<const Crossing<F, Args...>>(std::move(callable), std::move(args)...));
}

template <class F>
Call Call::fork_only(F callable) {
  static_assert(std::is_invocable_v<F&>, "a callable for a forked process is called without arguments");
  return Call(std::make_shared<const Local<F>>(std::move(callable)));
}

}  // namespace runrig::detail
