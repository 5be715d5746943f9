#pragma once

#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "runrig/engine/machine.hpp"
#include "runrig/engine/pool.hpp"
#include "runrig/engine/process.hpp"
#include "runrig/engine/start_method.hpp"

namespace runrig {

/// The interface of this library with one start method, whatever set_start_method() was told: two of them may be used
/// in one program, and a library chooses for itself without choosing for its users. A plain value.
///
/// What is shared between processes is independent of the context: a lock that was made in one can be given to the
/// processes of another. (In Python it can't.)
class Context {
 public:
  explicit Context(StartMethod method) noexcept : method_(method) {}

  [[nodiscard]] StartMethod get_start_method() const noexcept { return method_; }

  /// A Process that starts by this context's method; see Process' constructors.
  template <class... Args>
  [[nodiscard]] Process process(ProcessOptions options, Args... args) const {
    options.start_method = method_;
    return Process(std::move(options), std::move(args)...);
  }
  template <class F, class... Args>
  requires(!std::is_same_v<F, ProcessOptions>) [[nodiscard]] Process process(F function, Args... args) const {
    return process(ProcessOptions{}, std::move(function), std::move(args)...);
  }
  /// For types derived from Process, whose constructors take options.
  [[nodiscard]] ProcessOptions options(ProcessOptions options = {}) const {
    options.start_method = method_;
    return options;
  }

  /// A Pool whose workers come from a template that is started by this context's method.
  [[nodiscard]] Pool pool(PoolOptions options = {}) const {
    options.start_method = method_;
    return Pool(std::move(options));
  }

  // The same in all contexts.
  [[nodiscard]] std::vector<Process> active_children() const { return runrig::active_children(); }
  [[nodiscard]] Process current_process() const { return runrig::current_process(); }
  [[nodiscard]] std::optional<Process> parent_process() const { return runrig::parent_process(); }
  [[nodiscard]] int cpu_count() const { return runrig::cpu_count(); }
  [[nodiscard]] int usable_cpu_count() const { return runrig::usable_cpu_count(); }

 private:
  StartMethod method_;
};

/// The context of the start method that was chosen by set_start_method(), or of the default, which is thereby chosen.
[[nodiscard]] inline Context get_context() noexcept { return Context(get_start_method()); }
[[nodiscard]] inline Context get_context(StartMethod method) noexcept { return Context(method); }
/// By Python's name of the method. Throws std::invalid_argument.
[[nodiscard]] inline Context get_context(std::string_view method) { return Context(start_method_from(method)); }

}  // namespace runrig
