"""The messages of the API.

They are made from its descriptors when the package is imported, so they depend on no version of protoc; and in a pool of
their own, so that stubs of the same API can be loaded beside them.
"""
import pkgutil

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "guestfs.v1"


def _load_pool():
    files = descriptor_pb2.FileDescriptorSet.FromString(pkgutil.get_data(__package__, "api.binpb"))
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        if file.package == PACKAGE:
            for message in file.message_type:
                if message.name.endswith("Response"):
                    # A map loses the order of its entries, which libguestfs keeps; on the wire, it is a list of pairs.
                    for entry in message.nested_type:
                        entry.options.ClearField("map_entry")
        pool.AddSerializedFile(file.SerializeToString())
    return pool


_POOL = _load_pool()

if hasattr(message_factory, "GetMessageClass"):
    _class_of = message_factory.GetMessageClass
else:  # protobuf before 4.22
    _class_of = message_factory.MessageFactory(_POOL).GetPrototype

_classes = {}


def message_class(name, package=PACKAGE):
    """The class of a message of the API, by its name."""
    full = f"{package}.{name}"
    found = _classes.get(full)
    if found is None:
        found = _classes[full] = _class_of(_POOL.FindMessageTypeByName(full))
    return found
