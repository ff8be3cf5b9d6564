using Sagas.Runtime;

namespace Sagas.AspNetCore;

/// <summary>The API's words for statuses and kinds.</summary>
internal static class Words
{
    public static readonly string[] Statuses = Enum.GetNames<SagaStatus>();
    private static readonly string[] StepStatuses = Enum.GetNames<StepStatus>();
    private static readonly string[] Kinds = [.. Enum.GetNames<StepKind>().Select(name => name.ToLowerInvariant())];

    public static string Word(this SagaStatus status) => Statuses[(int)status];

    public static string Word(this StepStatus status) => StepStatuses[(int)status];

    public static string Word(this StepKind kind) => Kinds[(int)kind];

    public static readonly string[] WaitKinds = [.. Enum.GetNames<WaitKind>().Select(name => name.ToLowerInvariant())];

    public static string Word(this WaitKind kind) => WaitKinds[(int)kind];

    public static SagaStatus? StatusOf(string word) =>
        Array.FindIndex(Statuses, status => status.Equals(word, StringComparison.OrdinalIgnoreCase)) is >= 0 and var index ? (SagaStatus)index : null;
}
