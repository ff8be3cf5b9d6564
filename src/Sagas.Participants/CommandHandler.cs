using System.Buffers;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Microsoft.Extensions.DependencyInjection;

namespace Sagas.Participants;

/// <summary>One command of one participant, bound to the user's handler once at start. Calling it never throws: whatever the handler does becomes a reply.</summary>
internal abstract class CommandHandler
{
    public abstract bool Takes(Phase phase);

    /// <param name="item">The command; its payload is the wire's.</param>
    /// <param name="known">For confirm and cancel: the reservation as the barrier remembers it; null when it does not.</param>
    /// <param name="cancel">Cancelled at the item's deadline.</param>
    public abstract ValueTask<ReplyItem> CallAsync(CommandItem item, Payload? known, CancellationToken cancel);

    /// <summary>The handlers of every command that <paramref name="type"/> takes, by wire name.</summary>
    public static IEnumerable<(Type Command, Func<IServiceProvider, bool, CommandHandler> Bind)> Of(Type type)
    {
        foreach (var contract in type.GetInterfaces().Where(i => i.IsGenericType))
        {
            var definition = contract.GetGenericTypeDefinition();
            var bound = definition == typeof(ITccHandler<,>) ? typeof(TccCommandHandler<,,>)
                : definition == typeof(IStepHandler<,>) ? typeof(StepCommandHandler<,,>)
                : null;
            if (bound is null) continue;
            var arguments = contract.GetGenericArguments();
            var closed = bound.MakeGenericType([type, .. arguments]);
            yield return (arguments[0], (services, perItem) => (CommandHandler)Activator.CreateInstance(closed, services, perItem)!);
        }
    }
}

/// <summary>What both kinds share: finding the user's object, and turning exceptions into replies.</summary>
internal abstract class CommandHandler<THandler>(IServiceProvider services, bool scoped) : CommandHandler where THandler : notnull
{
    private readonly THandler? _single = scoped ? default : services.GetRequiredService<THandler>();

    public sealed override async ValueTask<ReplyItem> CallAsync(CommandItem item, Payload? known, CancellationToken cancel)
    {
        try
        {
            var context = new CommandContext(item.Saga, item.Step, item.Phase, item.Attempt, item.Key, item.TraceParent, item.Deadline);
            if (!scoped) return item.Ok(await CallAsync(_single!, item, known, context, cancel));
            await using var scope = services.CreateAsyncScope();
            return item.Ok(await CallAsync(scope.ServiceProvider.GetRequiredService<THandler>(), item, known, context, cancel));
        }
        catch (RefusedException e)
        {
            return item.Refused(e.Code, e.Message);
        }
        catch (BusyException e)
        {
            return item.Reply(Outcome.Busy) with { Message = e.Message, RetryAfter = e.RetryAfter };
        }
        catch (BadCommandException e)
        {
            return item.Phase is Phase.Try or Phase.Do or Phase.Check ? item.Refused("bad-command", e.Message) : item.Error("bad-command", e.Message);
        }
        catch (Exception e)
        {
            return item.Error(e.GetType().Name, e.Message);
        }
    }

    protected abstract ValueTask<Payload?> CallAsync(THandler handler, CommandItem item, Payload? known, CommandContext context, CancellationToken cancel);

    protected static T Read<T>(ReadOnlySpan<byte> json, CommandItem item, string what)
    {
        try
        {
            return JsonSerializer.Deserialize<T>(json, SagaJson.Options)
                ?? throw new BadCommandException($"The {what} of '{item.Command}' for step '{item.Step}' is null. Send the command's JSON.");
        }
        catch (JsonException e)
        {
            throw new BadCommandException($"The {what} of '{item.Command}' for step '{item.Step}' is no {typeof(T).Name}: {e.Message} Send what the participant's {typeof(T).Name} declares.");
        }
    }
}

internal sealed class StepCommandHandler<THandler, TCommand, TResult>(IServiceProvider services, bool scoped)
    : CommandHandler<THandler>(services, scoped) where THandler : IStepHandler<TCommand, TResult> where TCommand : ICommand<TCommand, TResult>
{
    public override bool Takes(Phase phase) => phase is Phase.Do or Phase.Compensate or Phase.Check;

    // Whether a compensating command has room for what it undoes: record UndoHold(HoldMoney Command, Hold? Result).
    private static readonly bool TakesBoth = SagaJson.Options.GetTypeInfo(typeof(TCommand)) is { Kind: JsonTypeInfoKind.Object } type
        && type.Properties.Any(p => p.Name.Equals("command", StringComparison.OrdinalIgnoreCase) || p.Name.Equals("result", StringComparison.OrdinalIgnoreCase));

    protected override async ValueTask<Payload?> CallAsync(THandler handler, CommandItem item, Payload? known, CommandContext context, CancellationToken cancel)
    {
        var payload = item.Phase == Phase.Compensate ? Settlement.Undoing(item.Payload, known, TakesBoth) : item.Payload;
        return Payload.From(await handler.HandleAsync(Read<TCommand>(payload.Utf8.Span, item, "payload"), context, cancel));
    }
}

internal sealed class TccCommandHandler<THandler, TTry, TReservation>(IServiceProvider services, bool scoped)
    : CommandHandler<THandler>(services, scoped) where THandler : ITccHandler<TTry, TReservation> where TTry : ITryCommand<TTry, TReservation>
{
    public override bool Takes(Phase phase) => phase is Phase.Try or Phase.Confirm or Phase.Cancel;

    protected override async ValueTask<Payload?> CallAsync(THandler handler, CommandItem item, Payload? known, CommandContext context, CancellationToken cancel)
    {
        if (item.Phase == Phase.Try)
            return Payload.From(await handler.TryAsync(Read<TTry>(item.Payload.Utf8.Span, item, "payload"), context, cancel));

        var (command, reservation) = Settlement.Split(item);
        var tried = Read<TTry>(command.Span, item, "payload's command");
        // The participant's own memory goes before the engine's, which may have missed the Try's reply.
        var held = known is { IsNull: false } ? known.Utf8 : reservation;
        var what = held.IsEmpty || held.Span.SequenceEqual("null"u8) ? default : Read<TReservation>(held.Span, item, "reservation");
        await (item.Phase == Phase.Confirm ? handler.ConfirmAsync(tried, what, context, cancel) : handler.CancelAsync(tried, what, context, cancel));
        return null;
    }
}

/// <summary>The payload of confirm, cancel and, from a definition in JSON, compensate: <c>{"command":…,"result":…}</c>.</summary>
internal static class Settlement
{
    /// <summary>
    /// What a compensating command is read from. A definition in C# maps it and it stays as it is; one in JSON sends the Do's command and result. A command with
    /// a member for either gets both, the result from the barrier's memory when the engine missed it; any other is read from the members of command and result
    /// together, the result's going before.
    /// </summary>
    public static Payload Undoing(Payload payload, Payload? known, bool takesBoth)
    {
        using var document = JsonDocument.Parse(payload.Utf8, new JsonDocumentOptions { MaxDepth = SagaJson.Options.MaxDepth });
        var root = document.RootElement;
        if (root.ValueKind != JsonValueKind.Object || root.EnumerateObject().Count() != 2) return payload;
        if (!root.TryGetProperty("command", out var command) || !root.TryGetProperty("result", out var result)) return payload;
        using var remembered = result.ValueKind == JsonValueKind.Null && known is { IsNull: false } ? JsonDocument.Parse(known.Utf8) : null;
        if (remembered is not null) result = remembered.RootElement;
        else if (takesBoth) return payload;

        var bytes = new ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(bytes))
        {
            json.WriteStartObject();
            if (takesBoth)
            {
                json.WritePropertyName("command"u8);
                command.WriteTo(json);
                json.WritePropertyName("result"u8);
                result.WriteTo(json);
            }
            else
            {
                var newer = Members(result).ToArray();
                foreach (var member in Members(command))
                    if (!Array.Exists(newer, other => other.Name.Equals(member.Name, StringComparison.OrdinalIgnoreCase))) member.WriteTo(json);
                foreach (var member in newer) member.WriteTo(json);
            }
            json.WriteEndObject();
        }
        return new Payload(bytes.WrittenMemory);

        static IEnumerable<JsonProperty> Members(JsonElement json) => json.ValueKind == JsonValueKind.Object ? json.EnumerateObject() : [];
    }

    public static (ReadOnlyMemory<byte> Command, ReadOnlyMemory<byte> Result) Split(CommandItem item)
    {
        ReadOnlyMemory<byte> command = default, result = default;
        try
        {
            var json = new Utf8JsonReader(item.Payload.Utf8.Span);
            if (!json.Read() || json.TokenType != JsonTokenType.StartObject) throw new JsonException("it is no object.");
            while (json.Read() && json.TokenType == JsonTokenType.PropertyName)
            {
                var isCommand = json.ValueTextEquals("command"u8);
                var isResult = json.ValueTextEquals("result"u8);
                json.Read();
                var start = (int)json.TokenStartIndex;
                json.Skip();
                var value = item.Payload.Utf8[start..(int)json.BytesConsumed];
                if (isCommand) command = value;
                else if (isResult) result = value;
            }
        }
        catch (JsonException e)
        {
            throw new BadCommandException($"The payload of {item.Phase.Word()} for step '{item.Step}' does not read: {e.Message} Send {{\"command\":…,\"result\":…}}.");
        }
        if (command.IsEmpty) throw new BadCommandException($"The payload of {item.Phase.Word()} for step '{item.Step}' has no 'command'. Send {{\"command\":…,\"result\":…}}.");
        return (command, result);
    }
}

/// <summary>The payload does not fit the handler's types.</summary>
internal sealed class BadCommandException(string message) : Exception(message);

/// <summary>A reply to an item, in one word.</summary>
internal static class Replies
{
    public static ReplyItem Reply(this CommandItem item, Outcome outcome, Payload? payload = null, string? code = null, string? message = null) =>
        new(item.Saga, item.Step, item.Phase, item.Attempt, outcome, payload, code, message);

    public static ReplyItem Ok(this CommandItem item, Payload? payload = null) => item.Reply(Outcome.Ok, payload);

    public static ReplyItem Refused(this CommandItem item, string? code, string? message) => item.Reply(Outcome.Refused, null, code, message);

    public static ReplyItem Error(this CommandItem item, string code, string message) => item.Reply(Outcome.Error, null, code, message);
}
