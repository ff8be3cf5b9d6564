namespace Sagas;

/// <summary>A command that a participant carries out at once (phase Do). Self-typed, so that C# infers command and result.</summary>
/// <typeparam name="TSelf">The command's own type.</typeparam>
/// <typeparam name="TResult">What the participant answers.</typeparam>
public interface ICommand<TSelf, TResult> where TSelf : ICommand<TSelf, TResult>;

/// <summary>A command whose answer carries nothing.</summary>
public interface ICommand<TSelf> : ICommand<TSelf, Nothing> where TSelf : ICommand<TSelf>;

/// <summary>A command that reserves (phase Try); the participant's Confirm and Cancel settle what it reserved.</summary>
/// <typeparam name="TSelf">The command's own type.</typeparam>
/// <typeparam name="TReservation">What the participant answers to the Try.</typeparam>
public interface ITryCommand<TSelf, TReservation> where TSelf : ITryCommand<TSelf, TReservation>;

/// <summary>The input of a saga, self-typed, so that starting it as a child infers the result.</summary>
public interface ISagaInput<TSelf, TResult> where TSelf : ISagaInput<TSelf, TResult>;

/// <summary>The result of a command that has none; <c>null</c> in JSON.</summary>
public sealed record Nothing
{
    /// <summary>The only value.</summary>
    public static readonly Nothing Value = new();
}

/// <summary>Names a command on the wire and, optionally, the participant that carries it out.</summary>
/// <param name="name">The wire name; default: the type's name in kebab case (<c>ReserveSeat</c> is <c>reserve-seat</c>).</param>
[AttributeUsage(AttributeTargets.Class | AttributeTargets.Struct)]
public sealed class CommandAttribute(string? name = null) : Attribute
{
    /// <summary>The wire name, or null for the type's name in kebab case.</summary>
    public string? Name { get; } = name;

    /// <summary>The participant that carries it out, or null when <c>.To</c> or a registration says so.</summary>
    public string? Participant { get; init; }
}

/// <summary>Says which participant carries out a command. Registered by whoever knows: the participants of this process, or the engine's configuration.</summary>
/// <param name="Command">The command's wire name.</param>
/// <param name="Participant">The participant's name.</param>
public sealed record CommandRoute(string Command, string Participant);

/// <summary>Registered by an engine whose sagas outlive the process, so that participants of the same process can warn when their barrier does not.</summary>
/// <param name="Store">Where sagas are kept, for people.</param>
public sealed record DurableSagas(string Store);

/// <summary>Wire names of command types.</summary>
public static class CommandName
{
    /// <summary>The wire name of <paramref name="command"/>: its <see cref="CommandAttribute"/>'s, else the type's name in kebab case.</summary>
    public static string Of(Type command) =>
        Attribute(command)?.Name ?? Kebab(command.Name);

    internal static CommandAttribute? Attribute(Type command) =>
        (CommandAttribute?)System.Attribute.GetCustomAttribute(command, typeof(CommandAttribute));

    internal static string Kebab(string name)
    {
        var text = new System.Text.StringBuilder(name.Length + 4);
        for (var i = 0; i < name.Length; i++)
        {
            var c = name[i];
            if (c == '`') break;
            var startsWord = char.IsUpper(c) && i > 0 && (!char.IsUpper(name[i - 1]) || (i + 1 < name.Length && char.IsLower(name[i + 1])));
            if (startsWord) text.Append('-');
            text.Append(char.ToLowerInvariant(c));
        }
        return text.ToString();
    }
}
