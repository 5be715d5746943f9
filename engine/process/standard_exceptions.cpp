// The exceptions that cross as themselves without being registered.

#include <any>
#include <filesystem>
#include <functional>
#include <future>
#include <ios>
#include <memory>
#include <new>
#include <optional>
#include <regex>
#include <stdexcept>
#include <system_error>
#include <typeinfo>
#include <variant>

#include "exception_table.hpp"

namespace runrig::detail {
namespace {

template <class E>
void add(ExceptionKinds& kinds, void (*raise)(const RemoteContext&),
         void (*collect)(const std::exception&, ExceptionRecord&) = nullptr) {
  kinds[typeid(E).name()] = {collect, raise};
}

// Made from its text; or, if it takes none, from nothing: what() is ours anyway.
template <class... E>
void add_simple(ExceptionKinds& kinds) {
  const auto raise = []<class Each>(std::type_identity<Each>) {
    return +[](const RemoteContext& context) {
      if constexpr (std::is_constructible_v<Each, const std::string&>) {
        throw_remote<Each>(context, context.record.text);
      } else {
        throw_remote<Each>(context);
      }
    };
  };
  (add<E>(kinds, raise(std::type_identity<E>())), ...);
}

// Of the engine's own kinds that carry nothing but a sentence. It is in what() already, so any name will do.
template <class... E>
void add_named(ExceptionKinds& kinds) {
  const auto raise = []<class Each>(std::type_identity<Each>) {
    return +[](const RemoteContext& context) {
      const std::string_view text = context.record.text;
      if constexpr (std::is_constructible_v<Each, std::string_view, std::string_view, std::string_view>) {
        throw_remote<Each>(context, text, text, text);
      } else if constexpr (std::is_constructible_v<Each, std::string_view, std::string_view>) {
        throw_remote<Each>(context, text, text);
      } else {
        throw_remote<Each>(context, text);
      }
    };
  };
  (add<E>(kinds, raise(std::type_identity<E>())), ...);
}

void add_with_codes(ExceptionKinds& kinds) {
  add<std::system_error>(kinds, [](const RemoteContext& context) {
    throw_remote<std::system_error>(context, code_of(context.record), context.record.text);
  });
  add<std::ios_base::failure>(kinds, [](const RemoteContext& context) {
    throw_remote<std::ios_base::failure>(context, context.record.text, code_of(context.record));
  });
  add<Error>(kinds, [](const RemoteContext& context) {
    throw_remote<Error>(context, code_of(context.record), std::string_view(context.record.text), std::string_view());
  });
  add<std::filesystem::filesystem_error>(
      kinds,
      [](const RemoteContext& context) {
        const auto path = [&](std::size_t i) {
          return i < context.record.texts.size() ? std::filesystem::path(context.record.texts[i])
                                                 : std::filesystem::path();
        };
        throw_remote<std::filesystem::filesystem_error>(context, context.record.text, path(0), path(1),
                                                        code_of(context.record));
      },
      [](const std::exception& error, ExceptionRecord& record) {
        const auto& failed = dynamic_cast<const std::filesystem::filesystem_error&>(error);
        record.texts = {failed.path1().string(), failed.path2().string()};
      });
  add<std::future_error>(
      kinds,
      [](const RemoteContext& context) {
        if (context.record.numbers.empty()) return;
        throw_remote<std::future_error>(context, static_cast<std::future_errc>(context.record.numbers[0]));
      },
      [](const std::exception& error, ExceptionRecord& record) {
        record.numbers = {dynamic_cast<const std::future_error&>(error).code().value()};
      });
  add<std::regex_error>(
      kinds,
      [](const RemoteContext& context) {
        if (context.record.numbers.empty()) return;
        throw_remote<std::regex_error>(context,
                                       static_cast<std::regex_constants::error_type>(context.record.numbers[0]));
      },
      [](const std::exception& error, ExceptionRecord& record) {
        record.numbers = {dynamic_cast<const std::regex_error&>(error).code()};
      });
}

// More ranges than a record takes are joined: they then cover more elements than were lost, never fewer.
void collect_ranges(const std::exception& error, ExceptionRecord& record) {
  constexpr std::size_t most = 1024;
  const auto& ranges = dynamic_cast<const SliceLost&>(error).ranges();
  const std::size_t joined = (ranges.size() + most - 1) / most;
  for (std::size_t i = 0; i < ranges.size(); i += joined) {
    const auto& last = ranges[std::min(i + joined, ranges.size()) - 1];
    record.numbers.push_back(static_cast<std::int64_t>(ranges[i].begin));
    record.numbers.push_back(static_cast<std::int64_t>(last.end));
  }
}

void add_losses(ExceptionKinds& kinds) {
  add<SliceLost>(
      kinds,
      [](const RemoteContext& context) {
        const auto& numbers = context.record.numbers;
        std::vector<SliceLost::Range> ranges;
        for (std::size_t i = 0; i + 1 < numbers.size(); i += 2) {
          ranges.push_back({static_cast<std::uint64_t>(numbers[i]), static_cast<std::uint64_t>(numbers[i + 1])});
        }
        if (ranges.empty()) return;
        throw_remote<SliceLost>(context, std::move(ranges), context.record.text);
      },
      collect_ranges);
  add<WorkerLost>(
      kinds,
      [](const RemoteContext& context) {
        const auto& numbers = context.record.numbers;
        if (numbers.size() != 2) return;
        throw_remote<WorkerLost>(context, static_cast<int>(numbers[0]), static_cast<int>(numbers[1]),
                                 context.record.text);
      },
      [](const std::exception& error, ExceptionRecord& record) {
        const auto& lost = dynamic_cast<const WorkerLost&>(error);
        record.numbers = {lost.pid(), lost.signal()};
      });
  add<RemoteError>(
      kinds,
      [](const RemoteContext& context) {
        const auto& record = context.record;
        if (record.numbers.size() != 1 || record.texts.size() != 2) return;
        throw_remote<RemoteError>(context, record.texts[0], record.texts[1], static_cast<int>(record.numbers[0]),
                                  context.worker_name);
      },
      [](const std::exception& error, ExceptionRecord& record) {
        const auto& remote = dynamic_cast<const RemoteError&>(error);
        record.numbers = {remote.worker()};
        record.texts = {remote.type(), remote.text()};
      });
}

}  // namespace

ExceptionKinds standard_exception_kinds() {
  ExceptionKinds kinds;
  add_simple<std::exception, std::logic_error, std::invalid_argument, std::domain_error, std::length_error,
             std::out_of_range, std::runtime_error, std::range_error, std::overflow_error, std::underflow_error,
             std::bad_alloc, std::bad_array_new_length, std::bad_cast, std::bad_typeid, std::bad_exception,
             std::bad_any_cast, std::bad_function_call, std::bad_optional_access, std::bad_variant_access,
             std::bad_weak_ptr>(kinds);
  add_named<OwnerDied, Poisoned, TimeoutError, BrokenBarrier, FormatError, BufferTooShort, EndOfStream,
            AuthenticationError, Cancelled, Empty, Full>(kinds);
  add_with_codes(kinds);
  add_losses(kinds);
  return kinds;
}

}  // namespace runrig::detail
