package telemetry

import "go.opentelemetry.io/otel/attribute"

// DecisionAttr is the decision of the event rds_csi.format.decision.
func DecisionAttr(d FormatDecision) Attr { return attribute.String("decision", string(d)) }

// ReasonAttr is why it was decided so, in words.
func ReasonAttr(why string) Attr { return attribute.String("reason", why) }
