using System.Text;
using System.Text.Json;

namespace Sagas;

/// <summary>Raw JSON that the engine carries without looking inside: an input, a command, a result. Immutable; parsed only where a mapping needs it.</summary>
public sealed class Payload : IEquatable<Payload>
{
    /// <summary>JSON's <c>null</c>.</summary>
    public static readonly Payload Null = new("null"u8.ToArray());

    private object? _read;

    /// <summary>A document may nest so deep, no deeper: what carries it (a state, an envelope) adds levels of its own and must still be readable.</summary>
    internal const int MaxDepth = 64;

    private static readonly JsonDocumentOptions Deep = new() { MaxDepth = 2 * MaxDepth };

    /// <summary>Wraps bytes that are known to be one JSON value in UTF-8; they must not change afterwards.</summary>
    public Payload(ReadOnlyMemory<byte> utf8) => Utf8 = utf8;

    /// <summary>The JSON text in UTF-8.</summary>
    public ReadOnlyMemory<byte> Utf8 { get; }

    /// <summary>Whether this is JSON's <c>null</c>.</summary>
    public bool IsNull => Utf8.Span.SequenceEqual("null"u8);

    /// <summary>Parses text. Throws <see cref="JsonException"/> when it is not one JSON value.</summary>
    public static Payload Parse(string json)
    {
        using var document = JsonDocument.Parse(json);
        return new Payload(Encoding.UTF8.GetBytes(json));
    }

    /// <summary>The JSON of <paramref name="value"/> by the project's one serializer setup (camelCase). Throws <see cref="JsonException"/> when it nests deeper than 64.</summary>
    public static Payload From<T>(T value)
    {
        if (value is null or Nothing) return Null;
        var bytes = JsonSerializer.SerializeToUtf8Bytes(value, value.GetType(), SagaJson.Options);
        return IsDeeper(bytes, MaxDepth) ? throw new JsonException($"A {value.GetType().Name} nests deeper than {MaxDepth} levels.") : new Payload(bytes);
    }

    /// <summary>What a mapping reads at its rehearsal: an object that stands for JSON not there.</summary>
    internal static Payload Sample(object? value) => new("null"u8.ToArray()) { _read = value };

    /// <summary>This JSON as a <typeparamref name="T"/>. The result is remembered, so treat it as immutable. Throws <see cref="JsonException"/> when it does not fit.</summary>
    public T? Read<T>()
    {
        if (_read is T known) return known;
        var value = JsonSerializer.Deserialize<T>(Utf8.Span, SagaJson.Options);
        _read = value;
        return value;
    }

    /// <summary>This JSON as an object of <paramref name="type"/>; see <see cref="Read{T}"/>.</summary>
    public object? Read(Type type)
    {
        var known = _read;
        if (known is not null && known.GetType() == type) return known;
        return _read = JsonSerializer.Deserialize(Utf8.Span, type, SagaJson.Options);
    }

    /// <summary>Checks that this JSON is a whole <paramref name="type"/>: nothing that the type requires is missing or null. Throws <see cref="JsonException"/> with the path.</summary>
    public void Require(Type type)
    {
        _read = JsonSerializer.Deserialize(Utf8.Span, type, SagaJson.Strict);
        // The serializer lets null through at the root, whatever the type.
        if (_read is null && type != typeof(Nothing) && Nullable.GetUnderlyingType(type) is null)
            throw new JsonException($"Null is no {type.Name}.", "$", null, null);
    }

    /// <summary>Whether both are the same JSON: member order and the spelling of numbers do not matter (30 equals 30.0).</summary>
    public bool Equals(Payload? other)
    {
        if (other is null) return false;
        if (ReferenceEquals(this, other) || Utf8.Span.SequenceEqual(other.Utf8.Span)) return true;
        using var mine = JsonDocument.Parse(Utf8, Deep);
        using var theirs = JsonDocument.Parse(other.Utf8, Deep);
        try
        {
            return JsonElement.DeepEquals(mine.RootElement, theirs.RootElement);
        }
        // A text with half a surrogate pair cannot be compared as text; it is valid JSON all the same.
        catch (InvalidOperationException)
        {
            return false;
        }
    }

    /// <summary>Whether a JSON value nests deeper than <paramref name="levels"/>.</summary>
    internal static bool IsDeeper(ReadOnlySpan<byte> utf8, int levels)
    {
        // Nearly always answered here: no deeper than it has brackets.
        if (utf8.Count((byte)'{') + utf8.Count((byte)'[') <= levels) return false;
        var json = new Utf8JsonReader(utf8, new JsonReaderOptions { MaxDepth = levels + 1 });
        while (json.Read())
            if (json.TokenType is JsonTokenType.StartObject or JsonTokenType.StartArray && json.CurrentDepth == levels) return true;
        return false;
    }

    /// <inheritdoc/>
    public override bool Equals(object? obj) => Equals(obj as Payload);

    /// <summary>The same for all payloads: equality is JSON's, which no cheap hash follows. Do not key dictionaries by payloads.</summary>
    public override int GetHashCode() => 0;

    /// <summary>The JSON text.</summary>
    public override string ToString() => Encoding.UTF8.GetString(Utf8.Span);
}
