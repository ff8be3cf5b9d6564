namespace Sagas;

/// <summary>
/// A definition that came with its saga: no listing has it, and sagas of the same name and version may each have their own. Part of the saga's state, so it
/// is there as long as the saga is.
/// </summary>
public sealed class InlineDefinition : IEquatable<InlineDefinition>
{
    private readonly Lazy<SagaDefinition?> _definition;

    /// <summary>The definition that a start brings.</summary>
    /// <exception cref="ArgumentException">It is written in C#: its mappings cannot be kept with a saga.</exception>
    public InlineDefinition(SagaDefinition definition)
    {
        ArgumentNullException.ThrowIfNull(definition);
        Json = definition.Json ?? throw new ArgumentException($"'{definition}' is written in C#. Add it with AddSaga, or give it in JSON.", nameof(definition));
        Fingerprint = definition.Fingerprint;
        _definition = new(Here(definition));
    }

    internal InlineDefinition(string fingerprint, Payload json)
    {
        (Fingerprint, Json) = (fingerprint, json);
        _definition = new(() =>
        {
            try
            {
                return Here(DefinitionJson.Parse(json.Utf8));
            }
            catch (DefinitionJsonException)
            {
                return null;
            }
        });
    }

    /// <summary>The hash of its content.</summary>
    public string Fingerprint { get; }

    /// <summary>The definition as it was given.</summary>
    public Payload Json { get; }

    /// <summary>The definition, read when it is first asked for; null: another version of this program wrote it, and this one cannot read it.</summary>
    public SagaDefinition? Definition => _definition.Value;

    /// <summary>Whether both are the same text up to its spelling.</summary>
    public bool Equals(InlineDefinition? other) => other is not null && Fingerprint == other.Fingerprint;

    /// <inheritdoc/>
    public override bool Equals(object? obj) => Equals(obj as InlineDefinition);

    /// <inheritdoc/>
    public override int GetHashCode() => Fingerprint.GetHashCode(StringComparison.Ordinal);

    /// <summary>Whoever may start a saga may bring one: it calls no host that a definition put over REST may not call.</summary>
    private static SagaDefinition Here(SagaDefinition definition)
    {
        (definition.Source, definition.LoopbackOnly) = (DefinitionSource.Rest, true);
        return definition;
    }
}
