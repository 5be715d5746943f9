#pragma once

#include <optional>
#include <string>
#include <unordered_map>

#include "runrig/engine/remote_exception.hpp"

namespace runrig::detail {

using ExceptionKinds = std::unordered_map<std::string, ExceptionKind>;  // by std::type_info::name()

/// Those of the standard library and of the engine.
[[nodiscard]] ExceptionKinds standard_exception_kinds();

/// Any thread.
[[nodiscard]] std::optional<ExceptionKind> find_exception_kind(const std::string& type_id);

/// The code of a record; of a category that this process does not know, one of the same name.
[[nodiscard]] std::error_code code_of(const ExceptionRecord& record);

}  // namespace runrig::detail
