#include "runrig/channel/transfer.hpp"

namespace runrig {

pickle::NdBuffer Transfer<pickle::NdBuffer>::read(pickle::Decoder& decoder) {
  const pickle::Object object = decoder.object();
  if (object.kind() != pickle::Kind::array && object.kind() != pickle::Kind::numpy_scalar) {
    decoder.fail("expected numpy.ndarray, found " + std::string(kind_name(object.kind())));
  }
  return object.as_array();
}

}  // namespace runrig
